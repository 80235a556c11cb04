//! What stands in a tile.

use super::TILE_WIDTH;
use crate::stream::MAX_ENTRY_BYTES;
use crate::tree::Hash;

/// What stands for the signature of an entry that has none: a seal leaf.
pub const NO_SIGNATURE: [u8; 64] = [0; 64];

/// Bytes that are no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTileError {
    /// The length is not that of `expected` parts of `part` bytes.
    #[error("expected {expected} times {part} bytes, found {found} bytes")]
    Length {
        /// Hashes or signatures that the tile should have.
        expected: usize,
        /// Bytes of one.
        part: usize,
        /// Bytes found.
        found: usize,
    },
    /// A bundle ends within an entry or before it.
    #[error("the bundle ends at byte {length}, before the end of entry {entry} of {expected}")]
    Truncated {
        /// The first entry that is not whole.
        entry: usize,
        /// Entries that the bundle should have.
        expected: usize,
        /// Bytes of the bundle.
        length: usize,
    },
    /// Bytes follow the last entry.
    #[error("{0} bytes follow the last entry of the bundle")]
    Trailing(usize),
}

/// The bytes of a tile of hashes.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The bytes of a bundle of signatures.
pub fn encode_signatures(signatures: &[[u8; 64]]) -> Vec<u8> {
    signatures.concat()
}

/// The bytes of a bundle of entries. `None` where an entry is longer than [`MAX_ENTRY_BYTES`].
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(entries.iter().map(|e| e.as_ref().len() + 2).sum());
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).ok()?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    const { assert!(MAX_ENTRY_BYTES == u16::MAX as usize) };
    Some(bytes)
}

/// Reads a tile of `width` hashes.
///
/// # Errors
/// [`ParseTileError::Length`] where it is of another length.
pub fn parse_hashes(bytes: &[u8], width: usize) -> Result<Vec<Hash>, ParseTileError> {
    parse_parts(bytes, width)
}

/// Reads a bundle of `width` signatures.
///
/// # Errors
/// [`ParseTileError::Length`] where it is of another length.
pub fn parse_signatures(bytes: &[u8], width: usize) -> Result<Vec<[u8; 64]>, ParseTileError> {
    parse_parts(bytes, width)
}

fn parse_parts<const N: usize>(
    bytes: &[u8],
    expected: usize,
) -> Result<Vec<[u8; N]>, ParseTileError> {
    let wrong = ParseTileError::Length {
        expected,
        part: N,
        found: bytes.len(),
    };
    let (parts, rest) = bytes.as_chunks::<N>();
    if parts.len() == expected && rest.is_empty() {
        Ok(parts.to_vec())
    } else {
        Err(wrong)
    }
}

/// Reads the first `width` hashes of a tile of that many or more: a log may answer a partial tile with a wider one of
/// the same place (C2SP tlog-tiles).
///
/// # Errors
/// [`ParseTileError::Length`] where it has fewer, or more than 256, or a part of one.
pub fn first_hashes(bytes: &[u8], width: usize) -> Result<Vec<Hash>, ParseTileError> {
    first_parts(bytes, width)
}

/// Reads the first `width` signatures of a bundle of that many or more; see [`first_hashes`].
///
/// # Errors
/// [`ParseTileError::Length`] where it has fewer, or more than 256, or a part of one.
pub fn first_signatures(bytes: &[u8], width: usize) -> Result<Vec<[u8; 64]>, ParseTileError> {
    first_parts(bytes, width)
}

fn first_parts<const N: usize>(bytes: &[u8], width: usize) -> Result<Vec<[u8; N]>, ParseTileError> {
    let found = bytes.len() / N;
    let wider = (width..=TILE_WIDTH).contains(&found);
    let mut parts = parse_parts(bytes, if wider { found } else { width })?;
    parts.truncate(width);
    Ok(parts)
}

/// Reads a bundle of `width` entries.
///
/// # Errors
/// [`ParseTileError::Truncated`] or [`ParseTileError::Trailing`] where it has not exactly that many.
pub fn parse_entries(bytes: &[u8], width: usize) -> Result<Vec<&[u8]>, ParseTileError> {
    let (entries, rest) = split_entries(bytes, width)?;
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(ParseTileError::Trailing(rest.len()))
    }
}

/// Reads the first `width` entries of a bundle of that many or more; see [`first_hashes`].
///
/// # Errors
/// [`ParseTileError::Truncated`] where it has fewer, [`ParseTileError::Trailing`] where what follows them is no entry,
/// or more than a bundle holds.
pub fn first_entries(bytes: &[u8], width: usize) -> Result<Vec<&[u8]>, ParseTileError> {
    let (entries, mut rest) = split_entries(bytes, width)?;
    let trailing = ParseTileError::Trailing(rest.len());
    for _ in width..TILE_WIDTH {
        if rest.is_empty() {
            break;
        }
        (_, rest) = split_entries(rest, 1).map_err(|_| trailing)?;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(trailing)
    }
}

/// Splits `width` entries off.
fn split_entries(bytes: &[u8], width: usize) -> Result<(Vec<&[u8]>, &[u8]), ParseTileError> {
    let mut entries = Vec::with_capacity(width);
    let mut rest = bytes;
    for entry in 0..width {
        let read = rest.split_first_chunk::<2>().and_then(|(length, after)| {
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((found, after)) = read else {
            return Err(ParseTileError::Truncated {
                entry,
                expected: width,
                length: bytes.len(),
            });
        };
        entries.push(found);
        rest = after;
    }
    Ok((entries, rest))
}
