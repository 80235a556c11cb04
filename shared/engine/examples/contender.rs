//! This engine among those that `make bench-engine` compares.

#[path = "../../../benches/engine/src/contender.rs"]
mod contender;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use contender::Contender;
use engine::{LoadLimits, Model, Tensor, TensorData, TensorSpec};

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
        let onnx = std::fs::read(file)?;
        Ok(Self {
            model: Model::load(&onnx, &LoadLimits::default())?,
        })
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

fn main() -> Result<(), Box<dyn Error>> {
    contender::serve::<Engine>()
}
