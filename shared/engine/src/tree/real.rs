//! Floats of the two widths, and the integers that order them.

use std::ops::Add;

use crate::packed::Element;
use crate::tensor::TensorData;

/// f32 or f64.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Into<f64>
    + Default
    + Element
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// An integer of the same width. See [`Real::key`].
    type Key: Ord + Default + Element + Send + Sync + std::fmt::Debug + 'static;
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    const IS_DOUBLE: bool;
    /// Below the key of every number.
    const LOW: Self::Key;
    /// Above the key of every number.
    const HIGH: Self::Key;
    /// Above [`Real::HIGH`]: nothing is greater.
    const TOP: Self::Key;
    fn into_data(values: Vec<Self>) -> TensorData;
    /// The nearest value.
    fn from_f64(value: f64) -> Self;
    /// An unsigned integer with the order of the numbers: equal keys for equal numbers, the two zeros included.
    /// It means nothing for NaN.
    fn key(self) -> Self::Key;
    /// The key below: of numbers, `x < t` is `key(x) <= below(key(t))`.
    fn below(key: Self::Key) -> Self::Key;
    fn divide(self, count: usize) -> Self;
    fn to_f32(self) -> f32;
    fn is_missing(self) -> bool;
}

impl Real for f32 {
    type Key = u32;
    const INFINITY: Self = f32::INFINITY;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;
    const IS_DOUBLE: bool = false;
    const LOW: u32 = 0;
    const HIGH: u32 = u32::MAX - 1;
    const TOP: u32 = u32::MAX;
    fn into_data(values: Vec<Self>) -> TensorData {
        TensorData::Fp32(values)
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    fn key(self) -> u32 {
        // Minus zero becomes zero.
        let bits = (self + 0.0).to_bits();
        // All bits of a negative number, the sign of any other.
        let flip = ((bits.cast_signed() >> 31).cast_unsigned()) | (1 << 31);
        bits ^ flip
    }
    fn below(key: u32) -> u32 {
        key.saturating_sub(1)
    }
    fn divide(self, count: usize) -> Self {
        self / count as Self
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

impl Real for f64 {
    type Key = u64;
    const INFINITY: Self = f64::INFINITY;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;
    const IS_DOUBLE: bool = true;
    const LOW: u64 = 0;
    const HIGH: u64 = u64::MAX - 1;
    const TOP: u64 = u64::MAX;
    fn into_data(values: Vec<Self>) -> TensorData {
        TensorData::Fp64(values)
    }
    fn from_f64(value: f64) -> Self {
        value
    }
    fn key(self) -> u64 {
        let bits = (self + 0.0).to_bits();
        let flip = ((bits.cast_signed() >> 63).cast_unsigned()) | (1 << 63);
        bits ^ flip
    }
    fn below(key: u64) -> u64 {
        key.saturating_sub(1)
    }
    fn divide(self, count: usize) -> Self {
        self / count as Self
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

#[cfg(test)]
mod tests {
    use super::Real;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_have_the_order_of_their_numbers(a: f32, b: f32, c: f64, d: f64) {
            if !a.is_nan() && !b.is_nan() {
                prop_assert_eq!(a.partial_cmp(&b), Some(a.key().cmp(&b.key())));
                prop_assert_eq!(a < b, a.key() <= f32::below(b.key()));
                prop_assert!(a.key() > f32::LOW && a.key() < f32::HIGH);
            }
            if !c.is_nan() && !d.is_nan() {
                prop_assert_eq!(c.partial_cmp(&d), Some(c.key().cmp(&d.key())));
                prop_assert_eq!(c < d, c.key() <= f64::below(d.key()));
                prop_assert!(c.key() > f64::LOW && c.key() < f64::HIGH);
            }
        }
    }

    #[test]
    fn zeros_are_equal_and_infinities_are_the_ends() {
        assert_eq!(0.0_f32.key(), (-0.0_f32).key());
        assert_eq!(0.0_f64.key(), (-0.0_f64).key());
        assert!(f32::LOW < f32::below(f32::NEG_INFINITY.key()));
        assert!(f32::INFINITY.key() < f32::HIGH && f32::HIGH < f32::TOP);
        assert!(f64::LOW < f64::below(f64::NEG_INFINITY.key()));
        assert!(f64::INFINITY.key() < f64::HIGH && f64::HIGH < f64::TOP);
    }
}
