//! `Mod`: what is left of a division, for every type that it is defined for.

use artifact::manifest::DataType;
use half::f16;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View};
use super::broadcast::{broadcast, combine};
use crate::attributes::int;
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// Whose sign the rest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modulo {
    /// The divisor's, as in Python. ONNX defines it for floats since operator set 28.
    Divisor,
    /// The dividend's, as in C's `fmod`.
    Dividend,
}

impl Modulo {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        match int(node, "fmod").unwrap_or(0) {
            0 => Ok(Self::Divisor),
            1 => Ok(Self::Dividend),
            other => Err(invalid(node, format!("fmod is {other}; 0 and 1 are known"))),
        }
    }

    pub(crate) fn form(left: &Form, right: &Form) -> Result<Form, String> {
        let datatype = left.datatype;
        if datatype != right.datatype {
            return Err(format!(
                "{} with {}; the same type on both sides is taken",
                datatype.name(),
                right.datatype.name()
            ));
        }
        if matches!(datatype, DataType::Bool | DataType::Bytes) {
            return Err(format!("{} where numbers are taken", datatype.name()));
        }
        Ok(Form::new(datatype, broadcast(&left.shape, &right.shape)?))
    }

    pub(crate) fn run(self, left: View<'_>, right: View<'_>) -> Result<Array, String> {
        let Form { shape, .. } = Self::form(&left.form(), &right.form())?;
        macro_rules! rests {
            ($($kind:ident),*) => {
                match (left.data, right.data) {
                    $((TensorData::$kind(a), TensorData::$kind(b)) => {
                        if b.iter().any(|divisor| divisor.refuses()) {
                            return Err("a division by 0".to_owned());
                        }
                        let rest = |a, b| Rest::rest(a, b, self);
                        TensorData::$kind(combine(a, left.shape, b, right.shape, &shape, rest))
                    })*
                    _ => return Err("the sides have different types".to_owned()),
                }
            };
        }
        let data = rests!(
            Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Fp16, Fp32, Fp64
        );
        Ok(Array { shape, data })
    }
}

/// A number that can be divided.
trait Rest: Copy {
    /// What is left of a division.
    fn rest(self, divisor: Self, modulo: Modulo) -> Self;

    /// True for a divisor that leaves nothing defined; a float leaves NaN.
    fn refuses(self) -> bool;
}

macro_rules! signed {
    ($($kind:ident),*) => {
        $(impl Rest for $kind {
            fn rest(self, divisor: Self, modulo: Modulo) -> Self {
                let rest = self.wrapping_rem(divisor);
                if modulo == Modulo::Divisor && rest != 0 && (rest < 0) != (divisor < 0) {
                    rest + divisor
                } else {
                    rest
                }
            }

            fn refuses(self) -> bool {
                self == 0
            }
        })*
    };
}

macro_rules! unsigned {
    ($($kind:ident),*) => {
        $(impl Rest for $kind {
            fn rest(self, divisor: Self, _: Modulo) -> Self {
                self % divisor
            }

            fn refuses(self) -> bool {
                self == 0
            }
        })*
    };
}

macro_rules! float {
    ($($kind:ident),*) => {
        $(impl Rest for $kind {
            fn rest(self, divisor: Self, modulo: Modulo) -> Self {
                let rest = self % divisor;
                if modulo == Modulo::Dividend {
                    rest
                } else if rest == 0.0 {
                    rest.copysign(divisor)
                } else if (rest < 0.0) == (divisor < 0.0) {
                    rest
                } else {
                    rest + divisor
                }
            }

            fn refuses(self) -> bool {
                false
            }
        })*
    };
}

impl Rest for f16 {
    fn rest(self, divisor: Self, modulo: Modulo) -> Self {
        Self::from_f32(self.to_f32().rest(divisor.to_f32(), modulo))
    }

    fn refuses(self) -> bool {
        false
    }
}

signed!(i8, i16, i32, i64);
unsigned!(u8, u16, u32, u64);
float!(f32, f64);

#[cfg(test)]
mod tests {
    use artifact::manifest::DataType;

    use super::{Form, Modulo, View};
    use crate::tensor::TensorData;

    fn run(modulo: Modulo, left: &TensorData, right: &TensorData) -> Result<TensorData, String> {
        let view = |data| View { shape: &[4], data };
        modulo.run(view(left), view(right)).map(|made| made.data)
    }

    #[test]
    fn the_rest_of_integers_has_the_sign_of_divisor_or_dividend() {
        let left = TensorData::Int64(vec![-4, 4, -3, i64::MIN]);
        let right = TensorData::Int64(vec![3, -3, 3, -1]);
        let expect = |values: [i64; 4]| Ok(TensorData::Int64(values.to_vec()));
        assert_eq!(run(Modulo::Divisor, &left, &right), expect([2, -2, 0, 0]));
        assert_eq!(run(Modulo::Dividend, &left, &right), expect([-1, 1, 0, 0]));
        let left = TensorData::Uint8(vec![250, 7, 0, 9]);
        let right = TensorData::Uint8(vec![200, 7, 3, 10]);
        let rests = TensorData::Uint8(vec![50, 0, 0, 9]);
        assert_eq!(run(Modulo::Divisor, &left, &right), Ok(rests));
    }

    #[test]
    fn a_division_of_integers_by_zero_is_an_error_and_of_floats_is_nan() {
        let ones = TensorData::Int32(vec![1; 4]);
        let zeros = TensorData::Int32(vec![0; 4]);
        assert!(run(Modulo::Divisor, &ones, &zeros).is_err());
        let left = TensorData::Fp32(vec![-5.5, 5.5, 1.0, 0.0]);
        let right = TensorData::Fp32(vec![2.0, -2.0, 0.0, 1.0]);
        let Ok(TensorData::Fp32(rests)) = run(Modulo::Dividend, &left, &right) else {
            panic!("no floats");
        };
        assert_eq!(rests[..2], [-1.5, 1.5]);
        assert!(rests[2].is_nan());
        let right = TensorData::Fp32(vec![2.0, -2.0, f32::NEG_INFINITY, -1.0]);
        let Ok(TensorData::Fp32(rests)) = run(Modulo::Divisor, &left, &right) else {
            panic!("no floats");
        };
        assert_eq!(rests, [0.5, -0.5, f32::NEG_INFINITY, 0.0]);
        assert!(rests[3].is_sign_negative());
    }

    #[test]
    fn both_sides_have_one_type_of_numbers() {
        let floats = Form::new(DataType::Fp32, vec![2, 1]);
        let integers = Form::new(DataType::Int64, vec![3]);
        let flags = Form::new(DataType::Bool, vec![3]);
        assert!(Modulo::form(&floats, &integers).is_err());
        assert!(Modulo::form(&flags, &flags).is_err());
        let wide = Form::new(DataType::Fp32, vec![3]);
        let made = Modulo::form(&floats, &wide);
        assert_eq!(made, Ok(Form::new(DataType::Fp32, vec![2, 3])));
    }
}
