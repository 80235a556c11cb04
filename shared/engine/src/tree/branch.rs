//! One branch as the kernels see it: to the right if the value's key is greater than the threshold's.

use super::attributes::{Mode, RawTrees};
use super::real::Real;
use super::topology::Topology;
use crate::error::LoadError;
use crate::packed::{Reader, Writer};

/// A bit of [`Branch::rules`]: go right if the value is less.
const RIGHT_IF_LESS: u8 = 1;
/// Go right if the value is equal.
const RIGHT_IF_EQUAL: u8 = 2;
/// Go right if the value is greater.
const RIGHT_IF_GREATER: u8 = 4;
/// Go right if the value is missing.
const RIGHT_IF_MISSING: u8 = 8;
/// Go right if the value is no member of the set whose place is [`Branch::set`].
const RIGHT_IF_NO_MEMBER: u8 = 16;

/// A branch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<T: Real> {
    pub(super) threshold: T::Key,
    pub(super) feature: u32,
    pub(super) rules: u8,
    /// The place of its set, of a membership branch.
    pub(super) set: u32,
    /// The left and the right child.
    pub(super) children: [u32; 2],
}

impl<T: Real> Branch<T> {
    /// Reads the branch at a place.
    pub(super) fn read(raw: &RawTrees<'_>, topology: &Topology, at: usize) -> Self {
        let mode = raw.modes[at];
        let tracks_true = raw
            .missing_tracks_true
            .get(at)
            .is_some_and(|flag| *flag != 0);
        // The true child is the right one where `value > threshold` is what is asked.
        let is_right_if_true = matches!(mode, Mode::GreaterOrEqual | Mode::Greater);
        // A comparison with NaN is false, that for inequality true; `tracks_true` makes any of them true.
        let missing_is_true = tracks_true || mode == Mode::NotEqual;
        let missing = if missing_is_true == is_right_if_true {
            RIGHT_IF_MISSING
        } else {
            0
        };
        let key = if mode == Mode::Member {
            T::LOW
        } else {
            T::from_f64(raw.values[at]).key()
        };
        let (threshold, rule) = match mode {
            Mode::LessOrEqual | Mode::Greater | Mode::Leaf => (key, RIGHT_IF_GREATER),
            Mode::Less | Mode::GreaterOrEqual => (T::below(key), RIGHT_IF_GREATER),
            Mode::Equal => (key, RIGHT_IF_LESS | RIGHT_IF_GREATER),
            Mode::NotEqual => (key, RIGHT_IF_EQUAL),
            Mode::Member => (key, RIGHT_IF_NO_MEMBER),
        };
        let [when_true, when_false] = topology.children[at];
        Self {
            threshold,
            feature: raw.feature_ids[at] as u32,
            rules: rule | missing,
            set: if mode == Mode::Member {
                raw.values[at] as u32
            } else {
                0
            },
            children: if is_right_if_true {
                [when_false, when_true]
            } else {
                [when_true, when_false]
            },
        }
    }

    /// A branch whose rule is `value > threshold`; `asked` is its feature, and whether a missing value goes right.
    pub(super) fn simple(threshold: T::Key, asked: (u32, bool), children: [u32; 2]) -> Self {
        let (feature, sends_right) = asked;
        let missing = if sends_right { RIGHT_IF_MISSING } else { 0 };
        Self {
            threshold,
            feature,
            rules: RIGHT_IF_GREATER | missing,
            set: 0,
            children,
        }
    }

    /// True if `value > threshold` is the rule for every value that is not missing.
    pub(super) fn is_simple(&self) -> bool {
        self.rules & !RIGHT_IF_MISSING == RIGHT_IF_GREATER
    }

    /// True if a missing value goes right.
    pub(super) fn sends_missing_right(&self) -> bool {
        self.rules & RIGHT_IF_MISSING != 0
    }

    /// True if a value goes right; a missing one has the key [`Real::HIGH`].
    pub(super) fn goes_right(&self, value: T::Key, sets: &Sets<T>) -> bool {
        let bit = if value == T::HIGH {
            RIGHT_IF_MISSING
        } else if self.rules & RIGHT_IF_NO_MEMBER != 0 {
            return !sets.contain(self.set, value);
        } else if value < self.threshold {
            RIGHT_IF_LESS
        } else if value > self.threshold {
            RIGHT_IF_GREATER
        } else {
            RIGHT_IF_EQUAL
        };
        self.rules & bit != 0
    }
}

/// The sets of membership branches.
#[derive(Debug, Clone)]
pub(super) struct Sets<T: Real> {
    /// Each sorted.
    sets: Vec<Vec<T::Key>>,
}

impl<T: Real> Default for Sets<T> {
    fn default() -> Self {
        Self { sets: Vec::new() }
    }
}

impl<T: Real> Sets<T> {
    pub(super) fn new(sets: &[Vec<f64>]) -> Self {
        let sets = sets.iter().map(|set| {
            let mut keys: Vec<T::Key> = set.iter().map(|value| T::from_f64(*value).key()).collect();
            keys.sort_unstable();
            keys
        });
        Self {
            sets: sets.collect(),
        }
    }

    pub(super) fn pack(&self, out: &mut Writer) {
        out.count(self.sets.len());
        for set in &self.sets {
            out.list(set);
        }
    }

    pub(super) fn unpack(input: &mut Reader<'_>) -> Result<Self, LoadError> {
        let count = input.count()?;
        let mut sets = Vec::new();
        for _ in 0..count {
            let set: Vec<T::Key> = input.list()?;
            if !set.is_sorted() {
                return Err(input.fault("a set is not sorted"));
            }
            sets.push(set);
        }
        Ok(Self { sets })
    }

    fn contain(&self, set: u32, value: T::Key) -> bool {
        self.sets
            .get(set as usize)
            .is_some_and(|set| set.binary_search(&value).is_ok())
    }
}
