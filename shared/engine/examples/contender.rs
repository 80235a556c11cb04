//! This engine among those that `make bench-engine` compares. `MODEL.packed` is made of `MODEL.onnx` beside it.

#[path = "../../../benches/engine/src/contender.rs"]
mod contender;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use contender::Contender;
use engine::{LoadLimits, Model, Tensor, TensorData, TensorSpec, pack};

/// That of the function and of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Engine {
    model: Model,
}

impl Engine {
    fn input(&self) -> &TensorSpec {
        &self.model.inputs()[0]
    }
}

impl Contender for Engine {
    type Batch = [Tensor; 1];

    fn load(file: &Path) -> Result<Self, Box<dyn Error>> {
        let (bytes, limits) = (std::fs::read(file)?, LoadLimits::default());
        let model = if is_packed(file) {
            Model::load_packed(bytes, &limits)?
        } else {
            Model::load(&bytes, &limits)?
        };
        Ok(Self { model })
    }

    fn row_size(&self) -> usize {
        let dims = self.input().shape.iter().skip(1);
        dims.map(|dim| usize::try_from(*dim).unwrap_or(1)).product()
    }

    fn batch(&self, rows: usize, values: &[f32]) -> Result<Self::Batch, Box<dyn Error>> {
        let mut shape = vec![rows];
        for dim in self.input().shape.iter().skip(1) {
            shape.push(usize::try_from(*dim)?);
        }
        Ok([Tensor {
            name: self.input().name.clone(),
            shape,
            data: TensorData::Fp32(values.to_vec()),
        }])
    }

    fn run(&mut self, batch: &Self::Batch) -> Result<(), Box<dyn Error>> {
        black_box(self.model.run(batch)?);
        Ok(())
    }

    fn answers(&mut self, batch: &Self::Batch) -> Result<Vec<f32>, Box<dyn Error>> {
        let outputs = self.model.run(batch)?;
        let last = outputs
            .into_iter()
            .rev()
            .find_map(|tensor| match tensor.data {
                TensorData::Fp32(values) => Some(values),
                _ => None,
            });
        Ok(last.ok_or("no float output")?)
    }
}

fn is_packed(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "packed")
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(file) = std::env::args_os().nth(1)
        && is_packed(Path::new(&file))
    {
        let onnx = std::fs::read(Path::new(&file).with_extension("onnx"))?;
        let packed = pack(&onnx, &LoadLimits::default())?;
        std::fs::write(&file, packed.ok_or("this model has no packed form")?)?;
    }
    contender::serve::<Engine>()
}
