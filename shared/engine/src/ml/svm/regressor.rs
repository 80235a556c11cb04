//! `SVMRegressor`.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::kernel::Kernel;
use crate::attributes::{check_length, finite, floats, int};
use crate::check::invalid;
use crate::error::LoadError;
use crate::ml::array::{Array, Form, View, matrix_of, to_f32};
use crate::ml::post_transform::PostTransform;

/// Support vectors and their weights; without vectors, the weights are those of the features.
#[derive(Debug, Clone)]
pub(crate) struct SvmRegressor {
    kernel: Kernel,
    features: usize,
    vectors: Vec<f32>,
    coefficients: Vec<f32>,
    rho: f32,
    one_class: bool,
}

impl SvmRegressor {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let coefficients = finite(node, "coefficients", floats(node, "coefficients"))?;
        let vectors = finite(node, "support_vectors", floats(node, "support_vectors"))?;
        let rho = finite(node, "rho", floats(node, "rho"))?;
        let [rho] = *rho else {
            return Err(invalid(
                node,
                format!("rho has {} entries; one is needed", rho.len()),
            ));
        };
        // It is read so that a wrong word is refused; onnxruntime applies none to a single target.
        PostTransform::read(node)?;
        let count = int(node, "n_supports").unwrap_or(0);
        let count =
            usize::try_from(count).map_err(|_| invalid(node, format!("n_supports is {count}")))?;
        let (kernel, features, vectors) = if count == 0 {
            (Kernel::Linear, coefficients.len(), coefficients)
        } else {
            check_length(
                node,
                "coefficients",
                coefficients.len(),
                "n_supports",
                count,
            )?;
            if !vectors.len().is_multiple_of(count) {
                return Err(invalid(
                    node,
                    format!(
                        "support_vectors has {} entries for {count} vectors",
                        vectors.len()
                    ),
                ));
            }
            (Kernel::read(node)?, vectors.len() / count, vectors)
        };
        if features == 0 {
            return Err(invalid(node, "it takes no feature"));
        }
        Ok(Self {
            kernel,
            features,
            vectors: vectors.to_vec(),
            coefficients: if count == 0 {
                vec![1.0]
            } else {
                coefficients.to_vec()
            },
            rho,
            one_class: int(node, "one_class").unwrap_or(0) != 0,
        })
    }

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        if input.datatype != DataType::Fp32 {
            return Err(format!("{} where FP32 is taken", input.datatype.name()));
        }
        let rows = matrix_of(&input.shape, self.features)?;
        Ok(Form::new(DataType::Fp32, vec![rows, 1]))
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let form = self.form(&input.form())?;
        let values = to_f32(input.data)?;
        let scores = values
            .chunks_exact(self.features)
            .map(|row| {
                let sum: f64 = self
                    .vectors
                    .chunks_exact(self.features)
                    .zip(&self.coefficients)
                    .map(|(vector, weight)| {
                        f64::from(self.kernel.apply(row, vector)) * f64::from(*weight)
                    })
                    .sum();
                let score = (sum + f64::from(self.rho)) as f32;
                match (self.one_class, score > 0.0) {
                    (false, _) => score,
                    (true, true) => 1.0,
                    (true, false) => -1.0,
                }
            })
            .collect();
        Ok(Array::floats(form.shape, scores))
    }
}
