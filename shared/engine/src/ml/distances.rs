//! `com.microsoft.CDist`: the distance of each row to each row of another matrix, as neighbours and kernels want it.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View};
use crate::attributes::{tensor, text};
use crate::check::{invalid, unsupported};
use crate::error::LoadError;
use crate::tensor::TensorData;

/// What a distance is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distances {
    /// The root of the sum of squares.
    Euclidean,
    /// The sum of squares.
    Squared,
    /// The sum of absolute differences.
    Manhattan,
    /// The sum of absolute differences to a power.
    Powers(f64),
}

/// The numbers that distances are made of.
trait Number: Copy + std::ops::Add<Output = Self> + std::ops::Sub<Output = Self> + Default {
    fn square(self) -> Self;
    fn size(self) -> Self;
    fn root(self) -> Self;
    fn power(self, exponent: f64) -> Self;
}

macro_rules! number {
    ($kind:ident) => {
        impl Number for $kind {
            fn square(self) -> Self {
                self * self
            }

            fn size(self) -> Self {
                self.abs()
            }

            fn root(self) -> Self {
                self.sqrt()
            }

            fn power(self, exponent: f64) -> Self {
                self.powf(exponent as $kind)
            }
        }
    };
}
number!(f32);
number!(f64);

impl Distances {
    /// Reads `metric`; beside onnxruntime's two, what `Scan` stands for: `manhattan`, and `powers` with `p`, a
    /// tensor of one float64.
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        match text(node, "metric").unwrap_or(b"sqeuclidean") {
            b"sqeuclidean" => Ok(Self::Squared),
            b"euclidean" => Ok(Self::Euclidean),
            b"manhattan" => Ok(Self::Manhattan),
            b"powers" => match tensor(node, "p").map(|p| &*p.double_data) {
                Some([p]) if p.is_finite() && *p > 0.0 => Ok(Self::Powers(*p)),
                _ => Err(invalid(node, "p is no positive number")),
            },
            other => {
                let metric = String::from_utf8_lossy(other);
                let hint = "export it with the metric sqeuclidean or euclidean";
                let reason = format!("the metric `{metric}` is not run");
                Err(unsupported(node, reason, hint))
            }
        }
    }

    /// Writes what [`Self::parse`] reads: the metric's name, and the power where there is one.
    pub(crate) fn name(self) -> (&'static str, Option<f64>) {
        match self {
            Self::Euclidean => ("euclidean", None),
            Self::Squared => ("sqeuclidean", None),
            Self::Manhattan => ("manhattan", None),
            Self::Powers(p) => ("powers", Some(p)),
        }
    }

    pub(crate) fn form(left: &Form, right: &Form) -> Result<Form, String> {
        let datatype = left.datatype;
        if datatype != right.datatype || !matches!(datatype, DataType::Fp32 | DataType::Fp64) {
            return Err(format!(
                "{} with {}; FP32 or FP64 is taken, the same on both sides",
                datatype.name(),
                right.datatype.name()
            ));
        }
        match (&*left.shape, &*right.shape) {
            ([rows, columns], [others, same]) if columns == same => {
                Ok(Form::new(datatype, vec![*rows, *others]))
            }
            (left, right) => Err(format!(
                "shapes {left:?} and {right:?} where two matrices of as many columns are taken"
            )),
        }
    }

    pub(crate) fn run(self, left: View<'_>, right: View<'_>) -> Result<Array, String> {
        let form = Self::form(&left.form(), &right.form())?;
        let columns = left.shape[1];
        let data = match (left.data, right.data) {
            (TensorData::Fp32(a), TensorData::Fp32(b)) => {
                TensorData::Fp32(self.measure(a, b, columns, &form.shape))
            }
            (TensorData::Fp64(a), TensorData::Fp64(b)) => {
                TensorData::Fp64(self.measure(a, b, columns, &form.shape))
            }
            _ => return Err("the sides have different types".to_owned()),
        };
        Ok(Array {
            shape: form.shape,
            data,
        })
    }

    fn measure<T: Number>(
        self,
        left: &[T],
        right: &[T],
        columns: usize,
        shape: &[usize],
    ) -> Vec<T> {
        match self {
            Self::Squared => sum_all(left, right, columns, shape, T::square),
            Self::Manhattan => sum_all(left, right, columns, shape, T::size),
            Self::Powers(p) => sum_all(left, right, columns, shape, |x| x.size().power(p)),
            Self::Euclidean => {
                let mut sums = sum_all(left, right, columns, shape, T::square);
                for sum in &mut sums {
                    *sum = sum.root();
                }
                sums
            }
        }
    }
}

/// For each row of the left with each of the right, the sum of what a step makes of their differences.
fn sum_all<T: Number>(
    left: &[T],
    right: &[T],
    columns: usize,
    shape: &[usize],
    step: impl Fn(T) -> T,
) -> Vec<T> {
    if columns == 0 {
        return vec![T::default(); shape.iter().product()];
    }
    let mut sums = Vec::with_capacity(shape.iter().product());
    for own in left.chunks_exact(columns) {
        sums.extend(right.chunks_exact(columns).map(|other| {
            let differences = own.iter().zip(other).map(|(a, b)| *a - *b);
            differences.fold(T::default(), |sum, difference| sum + step(difference))
        }));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::{Distances, View};
    use crate::tensor::TensorData;

    #[test]
    fn distances_are_those_of_the_definition() {
        let left = TensorData::Fp64(vec![0.0, 0.0, 1.0, -1.0]);
        let right = TensorData::Fp64(vec![3.0, -4.0, 1.0, -1.0, 0.0, 0.0]);
        let run = |distances: Distances| {
            let left = View {
                shape: &[2, 2],
                data: &left,
            };
            let right = View {
                shape: &[3, 2],
                data: &right,
            };
            distances
                .run(left, right)
                .map(|made| (made.shape, made.data))
        };
        let expect = |values: &[f64]| Ok((vec![2, 3], TensorData::Fp64(values.to_vec())));
        assert_eq!(
            run(Distances::Squared),
            expect(&[25.0, 2.0, 0.0, 13.0, 0.0, 2.0])
        );
        assert_eq!(
            run(Distances::Euclidean),
            expect(&[5.0, 2_f64.sqrt(), 0.0, 13_f64.sqrt(), 0.0, 2_f64.sqrt()])
        );
        assert_eq!(
            run(Distances::Manhattan),
            expect(&[7.0, 2.0, 0.0, 5.0, 0.0, 2.0])
        );
        assert_eq!(
            run(Distances::Powers(3.0)),
            expect(&[91.0, 2.0, 0.0, 35.0, 0.0, 2.0])
        );
    }
}
