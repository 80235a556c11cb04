//! Proof files (C2SP tlog-proof): an entry's index, the hashes that prove it, and a checkpoint. With the entry and the
//! log's key nothing else is needed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canonical::leaf_hash;
use crate::checkpoint::{Checkpoint, OpenCheckpointError, TrustedLog, parse_hash};
use crate::note::{KeyName, MAX_NOTE_BYTES, SignedNote};
use crate::stream::LeafHash;
use crate::tiles::{ReadTileError, TileReader, TreeReader, parse_decimal};
use crate::tree::{Hash, VerifyProofError, verify_inclusion};

const FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes of a proof: a tree has at most 2^64 leaves.
const MAX_HASHES: usize = 64;

/// A proof file, nothing of it verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Bytes that the proof does not vouch for.
    pub extra: Option<Vec<u8>>,
    /// The entry's index in the log, from 0.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Hash>,
    /// The checkpoint, a signed note, as the log published it.
    pub checkpoint: String,
}

/// Bytes that are no proof file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProofError {
    /// Not UTF-8, or longer than a proof can be.
    #[error("not a proof file: not UTF-8, or too long")]
    Encoding,
    /// The first line names another format.
    #[error("line 1: expected `{FORMAT}`")]
    Format,
    /// `extra` is not base64.
    #[error("line 2: `extra` is not base64")]
    Extra,
    /// No line `index N`.
    #[error("line {0}: expected `index` and a decimal")]
    Index(usize),
    /// A line is no hash.
    #[error("line {0}: expected base64 of 32 bytes, or an empty line and the checkpoint")]
    Hash(usize),
    /// More hashes than any tree needs.
    #[error("more than {MAX_HASHES} hashes")]
    TooManyHashes,
}

/// Why a proof file does not prove that an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofFileError {
    /// The checkpoint is not to be trusted.
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The hashes do not lead from the entry to the checkpoint's root.
    #[error("entry {index}: {source}")]
    Inclusion {
        /// The entry's index, as the proof says.
        index: u64,
        /// What does not hold.
        source: VerifyProofError,
    },
}

/// What a proof file proves: the entry stands at `index` of the log at `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenEntry {
    /// Where the entry stands.
    pub index: u64,
    /// The entry's leaf hash.
    pub leaf: Hash,
    /// As of which tree.
    pub checkpoint: Checkpoint,
    /// Trusted keys that signed it.
    pub signers: Vec<KeyName>,
}

/// Why no proof file could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MakeProofError<E> {
    /// The note is no checkpoint.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] OpenCheckpointError),
    /// A tile cannot be read, or the log has no such leaf.
    #[error(transparent)]
    Tile(#[from] ReadTileError<E>),
    /// The tree has another leaf there.
    #[error("leaf {index} is {sealed}, not {asked}")]
    OtherLeaf {
        /// The leaf's index.
        index: u64,
        /// Hash of what was to be proven.
        asked: LeafHash,
        /// Hash of what stands there.
        sealed: LeafHash,
    },
    /// The tiles are not those of the checkpoint.
    #[error("the tiles do not lead from leaf {0} to the checkpoint's root")]
    Damaged(u64),
}

impl ProofFile {
    /// Makes the proof that `leaf` stands at `index` of the tree of a checkpoint, from the tiles that
    /// [`inclusion_tiles`](crate::tiles::inclusion_tiles) names, and verifies it: a wrong proof is never given out. The
    /// checkpoint's signatures are not looked at.
    ///
    /// # Errors
    /// [`MakeProofError`] with what is wrong.
    pub fn make<R: TileReader>(
        checkpoint: &SignedNote,
        index: u64,
        leaf: LeafHash,
        reader: R,
    ) -> Result<Self, MakeProofError<R::Error>> {
        let Checkpoint { size, root, .. } = Checkpoint::parse(checkpoint.text())?;
        let mut tree = TreeReader::new(size, reader);
        let hashes = tree.prove_inclusion(index)?;
        let proves = |leaf: &Hash| verify_inclusion(size, index, leaf, &hashes, &root).is_ok();
        if proves(&leaf.0) {
            return Ok(Self {
                extra: None,
                index,
                hashes,
                checkpoint: checkpoint.to_string(),
            });
        }
        let sealed = tree.leaf(index).ok().filter(|sealed| proves(sealed));
        Err(match sealed {
            Some(sealed) => MakeProofError::OtherLeaf {
                index,
                asked: leaf,
                sealed: LeafHash(sealed),
            },
            None => MakeProofError::Damaged(index),
        })
    }

    /// Reads a proof file.
    ///
    /// # Errors
    /// [`ParseProofError`] with the line at fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseProofError> {
        if bytes.len() > 2 * MAX_NOTE_BYTES {
            return Err(ParseProofError::Encoding);
        }
        let file = str::from_utf8(bytes).map_err(|_| ParseProofError::Encoding)?;
        let mut lines = file.split_inclusive('\n');
        let mut number = 0;
        let mut read = 0;
        let mut next = || {
            let line = lines.next()?;
            number += 1;
            read += line.len();
            Some((number, read, line.strip_suffix('\n')?))
        };
        next()
            .filter(|(.., line)| *line == FORMAT)
            .ok_or(ParseProofError::Format)?;
        let mut line = next().ok_or(ParseProofError::Index(2))?;
        let mut extra = None;
        if let Some(text) = line.2.strip_prefix("extra ") {
            extra = Some(STANDARD.decode(text).map_err(|_| ParseProofError::Extra)?);
            line = next().ok_or(ParseProofError::Index(3))?;
        }
        let index = line
            .2
            .strip_prefix("index ")
            .and_then(parse_decimal)
            .ok_or(ParseProofError::Index(line.0))?;
        let mut hashes = Vec::new();
        loop {
            let at = line.0 + 1;
            line = next().ok_or(ParseProofError::Hash(at))?;
            if line.2.is_empty() {
                break;
            }
            if hashes.len() == MAX_HASHES {
                return Err(ParseProofError::TooManyHashes);
            }
            hashes.push(parse_hash(line.2).ok_or(ParseProofError::Hash(at))?);
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: file[line.1..].to_owned(),
        })
    }

    /// Verifies that `entry` stands in a log that is trusted.
    ///
    /// # Errors
    /// [`VerifyProofFileError`] with what does not hold.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &TrustedLog,
    ) -> Result<ProvenEntry, VerifyProofFileError> {
        let (checkpoint, signers) = log.open(self.checkpoint.as_bytes())?;
        let leaf = leaf_hash(entry);
        let (size, root) = (checkpoint.size, &checkpoint.root);
        verify_inclusion(size, self.index, &leaf, &self.hashes, root).map_err(|source| {
            VerifyProofFileError::Inclusion {
                index: self.index,
                source,
            }
        })?;
        Ok(ProvenEntry {
            index: self.index,
            leaf,
            checkpoint,
            signers,
        })
    }
}

/// The file, as C2SP writes it.
impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
