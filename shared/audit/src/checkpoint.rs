//! Checkpoints (C2SP tlog-checkpoint): what a log signs, and how a reader decides to trust one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::{
    KeyName, ParseNoteError, SignatureKind, SignedNote, VerifierKey, VerifyNoteError,
};
use crate::tiles::{ReadTileError, TileReader, TreeReader, parse_decimal};
use crate::tree::{Hash, VerifyProofError, verify_consistency};

/// Longest origin of a log that is written, in bytes: every seal names it and has to fit into an entry.
pub const MAX_ORIGIN_BYTES: usize = 1024;

/// A name that no log of ours can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No characters.
    #[error("an origin is not empty")]
    Empty,
    /// Longer than [`MAX_ORIGIN_BYTES`].
    #[error("an origin of {0} bytes is longer than {MAX_ORIGIN_BYTES}")]
    TooLong(usize),
    /// A line feed or another control character.
    #[error("a control character at byte {0} of the origin")]
    Control(usize),
}

/// Checks the name of a log that is to be written; a log that is read may have a longer one.
///
/// # Errors
/// [`OriginError`] with what is wrong.
pub fn check_origin(origin: &str) -> Result<(), OriginError> {
    if origin.is_empty() {
        return Err(OriginError::Empty);
    }
    if origin.len() > MAX_ORIGIN_BYTES {
        return Err(OriginError::TooLong(origin.len()));
    }
    match origin.find(char::is_control) {
        Some(at) => Err(OriginError::Control(at)),
        None => Ok(()),
    }
}

/// The head of a log: its origin, and size and root of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's unique name; not empty, without line feeds.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// Why a checkpoint is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenCheckpointError {
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(#[from] ParseNoteError),
    /// The note's text is no checkpoint.
    #[error("line {line} of the checkpoint: expected {expected}")]
    Text {
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Another log's.
    #[error("the checkpoint is of {found:?}, not of {expected:?}")]
    OtherOrigin {
        /// The trusted log.
        expected: String,
        /// What the checkpoint names.
        found: String,
    },
    /// The log's key did not sign, or a signature is wrong.
    #[error("{0}")]
    Verify(#[from] VerifyNoteError),
    /// Only witnesses signed, not the log.
    #[error("none of the log's own keys signed the checkpoint")]
    NotByLog,
    /// Fewer witnesses than asked for.
    #[error("{found} of the {expected} witnesses that are asked for cosigned the checkpoint")]
    Witnesses {
        /// What is asked for.
        expected: usize,
        /// Trusted witnesses that cosigned.
        found: usize,
    },
}

impl Checkpoint {
    /// Reads the text of a note. Extension lines are accepted and not kept: the note's signatures cover them.
    ///
    /// # Errors
    /// [`OpenCheckpointError::Text`] with the line at fault.
    pub fn parse(text: &str) -> Result<Self, OpenCheckpointError> {
        let wrong = |line, expected| OpenCheckpointError::Text { line, expected };
        let body = text.strip_suffix('\n').unwrap_or_default();
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty());
        let size = lines.next().and_then(parse_decimal);
        let root = lines.next().and_then(parse_hash);
        let parsed = Self {
            origin: origin.ok_or_else(|| wrong(1, "the origin"))?.to_owned(),
            size: size.ok_or_else(|| wrong(2, "the size, a decimal"))?,
            root: root.ok_or_else(|| wrong(3, "the root, base64 of 32 bytes"))?,
        };
        match lines.position(str::is_empty) {
            Some(at) => Err(wrong(at + 4, "a line that is not empty")),
            None => Ok(parsed),
        }
    }
}

/// The text that is signed: three lines.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }
}

/// A hash as checkpoints and proofs write it.
pub(crate) fn parse_hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

/// Which log, and whose signatures make its checkpoints trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedLog {
    /// The log's origin.
    pub origin: String,
    /// The log's own keys; one signature is enough.
    pub keys: Vec<VerifierKey>,
    /// Witnesses' keys.
    pub witnesses: Vec<VerifierKey>,
    /// How many witnesses must have cosigned.
    pub quorum: usize,
}

impl TrustedLog {
    /// A log that is trusted by one of its keys, without witnesses.
    pub fn by_keys(origin: &str, keys: Vec<VerifierKey>) -> Self {
        Self {
            origin: origin.to_owned(),
            keys,
            witnesses: Vec::new(),
            quorum: 0,
        }
    }

    /// Reads a checkpoint and verifies its signatures. Gives the names of the keys that signed, too.
    ///
    /// # Errors
    /// [`OpenCheckpointError`] with what is wrong.
    pub fn open(&self, note: &[u8]) -> Result<(Checkpoint, Vec<KeyName>), OpenCheckpointError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != self.origin {
            return Err(OpenCheckpointError::OtherOrigin {
                expected: self.origin.clone(),
                found: checkpoint.origin,
            });
        }
        let trusted = [self.keys.as_slice(), &self.witnesses].concat();
        let signers = note.verify(&trusted)?;
        if !signers.iter().any(|key| self.keys.contains(key)) {
            return Err(OpenCheckpointError::NotByLog);
        }
        let witnessed = |key: &&&VerifierKey| {
            key.kind() == SignatureKind::Cosignature && self.witnesses.contains(key)
        };
        let found = signers.iter().filter(witnessed).count();
        if found < self.quorum {
            return Err(OpenCheckpointError::Witnesses {
                expected: self.quorum,
                found,
            });
        }
        let names = signers.iter().map(|key| key.name().clone()).collect();
        Ok((checkpoint, names))
    }
}

/// Why one checkpoint is not the growth of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckGrowthError {
    /// The checkpoints are of two logs.
    #[error("the checkpoints are of {0:?} and {1:?}")]
    OtherOrigin(String, String),
    /// The later one is smaller: the log, or its lock, was set back.
    #[error("the log was set back from {from} leaves to {to}")]
    RolledBack {
        /// Size that was seen before.
        from: u64,
        /// Size that is claimed now.
        to: u64,
    },
    /// Both are signed and cannot be heads of one tree: the log has two histories.
    #[error(
        "the log has forked: the tree of {newer} leaves does not begin with the tree of {older} that was seen before"
    )]
    Forked {
        /// Size that was seen before.
        older: u64,
        /// Size that is claimed now.
        newer: u64,
    },
    /// The tiles are not those of the later checkpoint: nothing can be said about the growth.
    #[error(
        "the growth from {older} to {newer} leaves could not be checked: the tiles do not lead to the root of {newer}"
    )]
    Damaged {
        /// Size that was seen before.
        older: u64,
        /// Size that is claimed now.
        newer: u64,
    },
    /// The tiles for the proof could not be read.
    #[error("the growth from {older} to {newer} leaves could not be checked: {reason}")]
    Unreadable {
        /// Size that was seen before.
        older: u64,
        /// Size that is claimed now.
        newer: u64,
        /// Which tile, and why.
        reason: String,
    },
}

impl CheckGrowthError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherOrigin(..) => "audit.log_origin_differs",
            Self::RolledBack { .. } => "audit.log_rolled_back",
            Self::Forked { .. } => "audit.log_forked",
            Self::Damaged { .. } => "audit.tile_differs",
            Self::Unreadable { .. } => "audit.log_unreadable",
        }
    }
}

/// Checks that a log that was seen at `older` has only grown since, by its tiles at `newer`. What a sealer does with
/// the lock's and the published checkpoint before it appends, and an auditor with the last one that it kept. A caller
/// whose store is asynchronous reads what [`growth_tiles`](crate::tiles::growth_tiles) names.
///
/// # Errors
/// [`CheckGrowthError`] with what is wrong.
pub fn check_growth<R: TileReader<Error: fmt::Display>>(
    older: &Checkpoint,
    newer: &Checkpoint,
    reader: R,
) -> Result<(), CheckGrowthError> {
    if older.origin != newer.origin {
        let origins = (older.origin.clone(), newer.origin.clone());
        return Err(CheckGrowthError::OtherOrigin(origins.0, origins.1));
    }
    let sizes = (older.size, newer.size);
    if sizes.0 > sizes.1 {
        let (from, to) = sizes;
        return Err(CheckGrowthError::RolledBack { from, to });
    }
    let forked = CheckGrowthError::Forked {
        older: sizes.0,
        newer: sizes.1,
    };
    if sizes.0 == sizes.1 {
        return if older.root == newer.root {
            Ok(())
        } else {
            Err(forked)
        };
    }
    let unreadable = |error: ReadTileError<R::Error>| CheckGrowthError::Unreadable {
        older: sizes.0,
        newer: sizes.1,
        reason: error.to_string(),
    };
    let mut tree = TreeReader::new(newer.size, reader);
    let proof = tree.prove_consistency(older.size).map_err(unreadable)?;
    let check = |root: &Hash| {
        let (older, newer) = ((older.size, root), (newer.size, &newer.root));
        verify_consistency(older, newer, &proof)
    };
    match check(&older.root) {
        Ok(()) => Ok(()),
        Err(VerifyProofError::OlderRoot) => Err(forked),
        // A proof from a perfect tree begins with its root: only the tiles say whether that or a later hash is wrong.
        Err(_) => match check(&tree.root_at(older.size).map_err(unreadable)?) {
            Ok(()) => Err(forked),
            Err(_) => Err(CheckGrowthError::Damaged {
                older: sizes.0,
                newer: sizes.1,
            }),
        },
    }
}
