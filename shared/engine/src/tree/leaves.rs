//! What the leaves hold, by the places that the walks end at.

use super::attributes::RawTrees;
use super::real::Real;
use super::topology::Topology;
use crate::check::invalid;
use crate::error::LoadError;

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
