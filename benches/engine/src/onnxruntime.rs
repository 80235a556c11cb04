//! onnxruntime by its Rust bindings. `ORT_DYLIB_PATH` names its library.

mod contender;

use std::error::Error;
use std::path::Path;
use std::sync::OnceLock;

use contender::Contender;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

/// One for the process: a session's load does not make it.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

struct Onnxruntime {
    session: Session,
    /// The dimensions of one row.
    row: Vec<usize>,
}

impl Contender for Onnxruntime {
    type Batch = Tensor<f32>;

    fn load(file: &Path) -> Result<Self, Box<dyn Error>> {
        let environment = match ENVIRONMENT.get() {
            Some(environment) => environment,
            None => {
                let made = ort::init().build()?;
                // A warning a call would be measured.
                made.set_log_level(LogLevel::Fatal);
                ENVIRONMENT.get_or_init(|| made)
            }
        };
        let session = Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_file(file)?;
        let shape = session.inputs()[0].dtype().tensor_shape();
        let row = shape
            .ok_or("the input is no tensor")?
            .iter()
            .skip(1)
            .map(|dim| usize::try_from(*dim))
            .collect::<Result<_, _>>()?;
        Ok(Self { session, row })
    }

    fn row_size(&self) -> usize {
        self.row.iter().product()
    }

    fn batch(&self, rows: usize, values: &[f32]) -> Result<Self::Batch, Box<dyn Error>> {
        let mut shape = vec![rows];
        shape.extend(&self.row);
        Ok(Tensor::from_array((shape, values.to_vec()))?)
    }

    fn run(&mut self, batch: &Self::Batch) -> Result<(), Box<dyn Error>> {
        self.session.run(ort::inputs![batch])?;
        Ok(())
    }

    fn answers(&mut self, batch: &Self::Batch) -> Result<Vec<f32>, Box<dyn Error>> {
        let outputs = self.session.run(ort::inputs![batch])?;
        let last = outputs
            .values()
            .filter_map(|value| Some(value.try_extract_tensor::<f32>().ok()?.1.to_vec()))
            .last();
        Ok(last.ok_or("no float output")?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    contender::serve::<Onnxruntime>()
}
