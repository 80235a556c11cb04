//! The Merkle tree of RFC 6962: hashes, roots, and the verification of proofs.
//!
//! Leaf: `SHA-256(0x00 ‖ entry)` ([`leaf_hash`](crate::canonical::leaf_hash)); node: `SHA-256(0x01 ‖ left ‖ right)`;
//! the root of no leaves: `SHA-256("")`.

use sha2::{Digest, Sha256};

mod frontier;
mod path;

pub use frontier::{Frontier, FrontierError};
pub(crate) use frontier::{levels_changed, levels_of};
pub use path::{LeafSpan, consistency_path, inclusion_path};

/// SHA-256 of a leaf, of a node, or of a whole tree.
pub type Hash = [u8; 32];

/// Hash of a node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Root of a tree from its leaves' hashes, or of a subtree from the hashes of its equally high parts
/// (RFC 6962, 2.1).
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two below `count`: where RFC 6962 splits a tree of two or more leaves.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofError {
    /// The tree has no such leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The earlier tree is larger than the later one.
    #[error("a tree of {older} leaves cannot have grown into one of {newer}")]
    Shrunk {
        /// Size of the tree that should be earlier.
        older: u64,
        /// Size of the tree that should be later.
        newer: u64,
    },
    /// The proof has another number of hashes than trees of these sizes need.
    #[error("the proof has {found} hashes where {expected} are needed")]
    Length {
        /// What the sizes ask for.
        expected: usize,
        /// What the proof has.
        found: usize,
    },
    /// The hashes lead to the later tree's root, but to another one than the earlier tree's: they are the later tree's,
    /// and it does not begin with the earlier one.
    #[error("the proof does not lead to the earlier tree's root")]
    OlderRoot,
    /// The hashes lead to another root.
    #[error("the proof does not lead to the tree's root")]
    Root,
}

/// Verifies that `leaf` stands at `index` of the tree of `size` leaves with this `root` (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`VerifyProofError`] with what does not hold.
pub fn verify_inclusion(
    size: u64,
    index: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerifyProofError> {
    let path = inclusion_path(size, index).ok_or(VerifyProofError::NoSuchLeaf { index, size })?;
    check_length(path.len(), proof.len())?;
    let found = path.iter().zip(proof).fold(*leaf, |hash, (span, sibling)| {
        if span.start > index {
            node_hash(&hash, sibling)
        } else {
            node_hash(sibling, &hash)
        }
    });
    if found == *root {
        Ok(())
    } else {
        Err(VerifyProofError::Root)
    }
}

/// Verifies that the tree of `older` leaves is the beginning of the tree of `newer` leaves (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`VerifyProofError`] with what does not hold.
pub fn verify_consistency(
    (older, older_root): (u64, &Hash),
    (newer, newer_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), VerifyProofError> {
    let path = consistency_path(older, newer).ok_or(VerifyProofError::Shrunk { older, newer })?;
    check_length(path.len(), proof.len())?;
    if older == 0 {
        return if *older_root == empty_root() {
            Ok(())
        } else {
            Err(VerifyProofError::OlderRoot)
        };
    }
    // The lowest node that both trees share: named by the proof, or the earlier tree itself where that is perfect.
    let (mut older_hash, mut newer_hash, rest) = match (path.first(), proof.split_first()) {
        (Some(span), Some((seed, rest))) if span.end == older => (*seed, *seed, 1..rest.len() + 1),
        _ => (*older_root, *older_root, 0..proof.len()),
    };
    for (span, hash) in path[rest.clone()].iter().zip(&proof[rest]) {
        if span.start >= older {
            newer_hash = node_hash(&newer_hash, hash);
        } else {
            older_hash = node_hash(hash, &older_hash);
            newer_hash = node_hash(hash, &newer_hash);
        }
    }
    if newer_hash != *newer_root {
        return Err(VerifyProofError::Root);
    }
    if older_hash != *older_root {
        return Err(VerifyProofError::OlderRoot);
    }
    Ok(())
}

fn check_length(expected: usize, found: usize) -> Result<(), VerifyProofError> {
    if expected == found {
        Ok(())
    } else {
        Err(VerifyProofError::Length { expected, found })
    }
}
