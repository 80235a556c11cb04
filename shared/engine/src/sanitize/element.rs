//! The numeric element types, seen as f64 and back.

use half::f16;

/// A numeric element. 64-bit integers beyond 2^53 are compared to the nearest f64.
pub(super) trait Element: Copy {
    /// The value.
    fn to_f64(self) -> f64;
    /// The nearest value of this type (saturating for integers).
    fn nearest(value: f64) -> Self;
    /// The largest value of this type that is not above `value`.
    fn at_most(value: f64) -> Self;
    /// The smallest value of this type that is not below `value`.
    fn at_least(value: f64) -> Self;
    /// False for NaN and the infinities.
    fn is_finite(self) -> bool;
}

macro_rules! impl_integer {
    ($to_f64:expr; $($type:ty),*) => {$(
        impl Element for $type {
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }
            fn nearest(value: f64) -> Self {
                value.round() as Self
            }
            fn at_most(value: f64) -> Self {
                value.floor() as Self
            }
            fn at_least(value: f64) -> Self {
                value.ceil() as Self
            }
            fn is_finite(self) -> bool {
                true
            }
        }
    )*};
}

impl_integer!(f64::from; u8, u16, u32, i8, i16, i32);
impl_integer!(|value: u64| value as f64; u64);
impl_integer!(|value: i64| value as f64; i64);

impl Element for f64 {
    fn to_f64(self) -> f64 {
        self
    }
    fn nearest(value: f64) -> Self {
        value
    }
    fn at_most(value: f64) -> Self {
        value
    }
    fn at_least(value: f64) -> Self {
        value
    }
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn nearest(value: f64) -> Self {
        value as f32
    }
    fn at_most(value: f64) -> Self {
        let near = value as f32;
        if f64::from(near) > value {
            near.next_down()
        } else {
            near
        }
    }
    fn at_least(value: f64) -> Self {
        let near = value as f32;
        if f64::from(near) < value {
            near.next_up()
        } else {
            near
        }
    }
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f16 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn nearest(value: f64) -> Self {
        f16::from_f64(value)
    }
    fn at_most(value: f64) -> Self {
        let near = f16::from_f64(value);
        if f64::from(near) > value {
            -next_up(-near)
        } else {
            near
        }
    }
    fn at_least(value: f64) -> Self {
        let near = f16::from_f64(value);
        if f64::from(near) < value {
            next_up(near)
        } else {
            near
        }
    }
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// The next f16 above a value that is not NaN.
fn next_up(value: f16) -> f16 {
    let bits = value.to_bits();
    if value == f16::INFINITY {
        value
    } else if value == f16::ZERO {
        f16::from_bits(1)
    } else if bits & 0x8000 == 0 {
        f16::from_bits(bits + 1)
    } else {
        f16::from_bits(bits - 1)
    }
}
