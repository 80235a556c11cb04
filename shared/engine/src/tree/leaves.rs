//! What the leaves hold, by the places that the walks end at.

use super::attributes::RawTrees;
use super::real::Real;
use super::topology::Topology;
use crate::check::invalid;
use crate::error::LoadError;
use crate::packed::{Reader, Writer};

/// The leaves' weights.
#[derive(Debug, Clone)]
pub(super) enum Leaves<T> {
    /// One weight a leaf, for the same output in all; by place.
    One { output: usize, weights: Vec<T> },
    /// A weight for every output in every leaf: `starts[place]` is the first.
    Dense { starts: Vec<u32>, weights: Vec<T> },
    /// Some weights: `ranges[place]` is the first and how many there are.
    Sparse {
        ranges: Vec<(u32, u32)>,
        weights: Vec<(u32, T)>,
    },
}

/// What all weights of an ensemble have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// The output that all are for, where they are for one.
    pub(super) output: Option<usize>,
    pub(super) are_finite: bool,
    /// None is below 0.
    pub(super) are_positive: bool,
}

/// Refuses weights for a class or target that there is not.
pub(super) fn check_outputs(raw: &RawTrees<'_>) -> Result<(), LoadError> {
    let is_outside = |id: &i64| usize::try_from(*id).map_or(true, |id| id >= raw.width);
    match raw.output_ids.iter().position(is_outside) {
        None => Ok(()),
        Some(at) => Err(invalid(
            raw.node,
            format!(
                "weight {at} is for class or target {}; there are {}",
                raw.output_ids[at], raw.width
            ),
        )),
    }
}

impl<T: Real> Leaves<T> {
    /// Packs the weights; `places` holds for each place the leaf that ends a walk there, `u32::MAX` for a branch.
    pub(super) fn pack(
        raw: &RawTrees<'_>,
        topology: &Topology,
        places: &[u32],
    ) -> Result<Self, LoadError> {
        check_outputs(raw)?;
        // The weights of each leaf, in the attributes' order within it.
        let count = raw.modes.len();
        let mut starts = vec![0_u32; count + 1];
        for leaf in &topology.weight_leaves {
            starts[*leaf as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut sorted = vec![(0_u32, T::default()); raw.weights.len()];
        for ((leaf, output), weight) in topology
            .weight_leaves
            .iter()
            .zip(&*raw.output_ids)
            .zip(&raw.weights)
        {
            let slot = &mut next[*leaf as usize];
            sorted[*slot as usize] = (*output as u32, T::from_f64(*weight));
            *slot += 1;
        }
        let of = |leaf: u32| {
            let leaf = leaf as usize;
            &sorted[starts[leaf] as usize..starts[leaf + 1] as usize]
        };
        let leaves = || places.iter().copied().filter(|leaf| *leaf != u32::MAX);
        let output = sorted.first().map_or(0, |(output, _)| *output);
        if leaves().all(|leaf| matches!(of(leaf), [(own, _)] if *own == output)) {
            let weights = places
                .iter()
                .map(|leaf| match *leaf {
                    u32::MAX => T::default(),
                    leaf => of(leaf)[0].1,
                })
                .collect();
            return Ok(Self::One {
                output: output as usize,
                weights,
            });
        }
        let is_dense = |leaf: u32| {
            let own = of(leaf);
            let mut seen = vec![false; raw.width];
            own.len() == raw.width
                && own
                    .iter()
                    .all(|(output, _)| !std::mem::replace(&mut seen[*output as usize], true))
        };
        if leaves().all(is_dense) {
            let mut weights = vec![T::default(); sorted.len()];
            for own in sorted.chunks_exact(raw.width).enumerate() {
                for (output, weight) in own.1 {
                    weights[own.0 * raw.width + *output as usize] = *weight;
                }
            }
            let starts = places
                .iter()
                .map(|leaf| match *leaf {
                    u32::MAX => 0,
                    leaf => starts[leaf as usize],
                })
                .collect();
            return Ok(Self::Dense { starts, weights });
        }
        let ranges = places
            .iter()
            .map(|leaf| match *leaf {
                u32::MAX => (0, 0),
                leaf => (starts[leaf as usize], of(leaf).len() as u32),
            })
            .collect();
        Ok(Self::Sparse {
            ranges,
            weights: sorted,
        })
    }

    /// Writes the weights of the leaves among `places`, in their order.
    pub(super) fn write(
        &self,
        places: usize,
        is_leaf: impl Fn(usize) -> bool,
        width: usize,
        out: &mut Writer,
    ) {
        let leaves = || (0..places).filter(|place| is_leaf(*place));
        match self {
            Self::One { output, weights } => {
                out.one(0_u8);
                out.count(*output);
                out.many(leaves().map(|place| weights[place]));
            }
            Self::Dense { starts, weights } => {
                out.one(1_u8);
                let own = |place: usize| &weights[starts[place] as usize..][..width];
                out.many(leaves().flat_map(own).copied());
            }
            Self::Sparse { ranges, weights } => {
                out.one(2_u8);
                let own = |place: usize| {
                    let (start, count) = ranges[place];
                    &weights[start as usize..(start + count) as usize]
                };
                out.many(leaves().map(|place| ranges[place].1));
                out.many(leaves().flat_map(own).map(|(output, _)| *output));
                out.many(leaves().flat_map(own).map(|(_, weight)| *weight));
            }
        }
    }

    /// What the weights have in common.
    pub(super) fn survey(&self) -> Survey {
        let (weights, output): (Box<dyn Iterator<Item = T> + '_>, Option<usize>) = match self {
            Self::One { output, weights } => (Box::new(weights.iter().copied()), Some(*output)),
            Self::Dense { weights, .. } => (Box::new(weights.iter().copied()), None),
            Self::Sparse { weights, .. } => {
                let first = weights.first().map(|(output, _)| *output);
                let is_one = weights.iter().all(|(output, _)| Some(*output) == first);
                let output = first.filter(|_| is_one).map(|output| output as usize);
                (Box::new(weights.iter().map(|(_, weight)| *weight)), output)
            }
        };
        let (mut are_finite, mut are_positive) = (true, true);
        for weight in weights.map(Into::<f64>::into) {
            are_finite &= weight.is_finite();
            are_positive &= weight >= 0.0;
        }
        Survey {
            output,
            are_finite,
            are_positive,
        }
    }

    /// Reads what [`Leaves::write`] wrote. Each place has weights of its own, so that no file makes a row cost
    /// more than it is long.
    pub(super) fn read(
        input: &mut Reader<'_>,
        places: usize,
        is_leaf: impl Fn(usize) -> bool,
        width: usize,
    ) -> Result<Self, LoadError> {
        let count = (0..places).filter(|place| is_leaf(*place)).count();
        match input.one::<u8>()? {
            0 => {
                let output = input.count()?;
                if output >= width {
                    return Err(input.fault(format!("output {output} of {width}")));
                }
                let weights: Vec<T> = input.many(count)?;
                if count == places {
                    return Ok(Self::One { output, weights });
                }
                let mut weights = weights.into_iter();
                let mut own = |place| {
                    let weight = is_leaf(place).then(|| weights.next()).flatten();
                    weight.unwrap_or_default()
                };
                let weights = (0..places).map(&mut own).collect();
                Ok(Self::One { output, weights })
            }
            1 => {
                let weights: Vec<T> = input.many(count.saturating_mul(width))?;
                let starts = lay_out(places, is_leaf, |_| width);
                let starts = starts.ok_or_else(|| input.fault("too many weights"))?;
                Ok(Self::Dense {
                    starts: starts.into_iter().map(|(start, _)| start).collect(),
                    weights,
                })
            }
            2 => {
                let counts: Vec<u32> = input.many(count)?;
                let total = counts.iter().map(|count| *count as usize).sum();
                let outputs: Vec<u32> = input.many(total)?;
                if !outputs.iter().all(|output| (*output as usize) < width) {
                    return Err(input.fault(format!("an output beyond {width}")));
                }
                let weights: Vec<T> = input.many(total)?;
                let ranges = lay_out(places, is_leaf, |leaf| counts[leaf] as usize);
                Ok(Self::Sparse {
                    ranges: ranges.ok_or_else(|| input.fault("too many weights"))?,
                    weights: outputs.into_iter().zip(weights).collect(),
                })
            }
            other => Err(input.fault(format!("{other} is no form of leaves"))),
        }
    }

    /// The weights of the leaf at a place: outputs, and what is added to them.
    pub(super) fn of(&self, place: u32, width: usize) -> Vec<(u32, f64)> {
        let place = place as usize;
        match self {
            Self::One { output, weights } => vec![(*output as u32, weights[place].into())],
            Self::Dense { starts, weights } => {
                let own = &weights[starts[place] as usize..][..width];
                own.iter()
                    .zip(0..)
                    .map(|(weight, output)| (output, (*weight).into()))
                    .collect()
            }
            Self::Sparse { ranges, weights } => {
                let (start, count) = ranges[place];
                let own = &weights[start as usize..(start + count) as usize];
                own.iter()
                    .map(|(output, weight)| (*output, (*weight).into()))
                    .collect()
            }
        }
    }

    /// The outputs that have a weight whatever leaves a row reaches; none where that depends on the leaves.
    pub(super) fn mark_present(&self, present: &mut [bool], width: usize) {
        match self {
            Self::One { output, .. } => {
                for row in present.chunks_exact_mut(width) {
                    row[*output] = true;
                }
            }
            Self::Dense { .. } => present.fill(true),
            Self::Sparse { .. } => {}
        }
    }
}

/// Start and length of the weights at each place, leaf after leaf; `(0, 0)` for a branch. None if they are too many.
fn lay_out(
    places: usize,
    is_leaf: impl Fn(usize) -> bool,
    length: impl Fn(usize) -> usize,
) -> Option<Vec<(u32, u32)>> {
    let (mut leaf, mut start) = (0, 0_u32);
    (0..places)
        .map(|place| {
            if !is_leaf(place) {
                return Some((0, 0));
            }
            let own = (start, u32::try_from(length(leaf)).ok()?);
            leaf += 1;
            start = start.checked_add(own.1)?;
            Some(own)
        })
        .collect()
}
