//! Weighs a protobuf message before it is decoded.
//!
//! Decoding can cost a hundred times the bytes that it reads: an empty sub-message takes two bytes in the
//! file and hundreds in memory. This walk over the wire format allocates nothing and adds up what decoding
//! would cost.

use crate::error::LoadError;
use crate::limits::LoadLimits;

/// Memory that decoding may take, in bytes for each byte that a file may have.
const MAX_AMPLIFICATION: usize = 16;
/// Sub-messages within sub-messages: a model, its graph, a node, an attribute, a tensor and some room.
const MAX_DEPTH: usize = 24;
/// A generous mean of what a decoded sub-message takes, in bytes.
const MESSAGE_COST: usize = 256;
/// What a string takes beside its own bytes.
const STRING_COST: usize = 48;

/// The messages of ONNX that hold others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TypeDetail,
    Shape,
    Training,
    Function,
    Annotation,
    /// A message that holds only strings and numbers.
    Flat,
}

/// The kind of a length-delimited field that is a message.
#[expect(
    clippy::match_same_arms,
    reason = "read by the message that holds the field"
)]
fn child(kind: Kind, field: u64) -> Option<Kind> {
    Some(match (kind, field) {
        (Kind::Model, 7) => Kind::Graph,
        (Kind::Model, 8 | 14) => Kind::Flat,
        (Kind::Model, 20) => Kind::Training,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Training, 1 | 2) => Kind::Graph,
        (Kind::Training, 3 | 4) => Kind::Flat,
        (Kind::Function, 7) => Kind::Node,
        (Kind::Function, 9) => Kind::Flat,
        (Kind::Function, 11) => Kind::Attribute,
        (Kind::Function, 12) => Kind::ValueInfo,
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, 5) => Kind::Tensor,
        (Kind::Graph, 11..=13) => Kind::ValueInfo,
        (Kind::Graph, 14) => Kind::Annotation,
        (Kind::Graph, 15) => Kind::SparseTensor,
        (Kind::Annotation, 2) => Kind::Flat,
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::Attribute, 5 | 10) => Kind::Tensor,
        (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Attribute, 14 | 15) => Kind::Type,
        (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
        (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
        (Kind::Tensor, 3 | 13) => Kind::Flat,
        (Kind::ValueInfo, 2) => Kind::Type,
        (Kind::Type, _) => Kind::TypeDetail,
        (Kind::TypeDetail, 2) => Kind::Shape,
        (Kind::Shape, 1) => Kind::Flat,
        _ => return None,
    })
}

/// Checks that a model's bytes are well formed and cheap enough to decode.
pub(crate) fn weigh(bytes: &[u8], limits: &LoadLimits) -> Result<(), LoadError> {
    let limit = limits.max_bytes.saturating_mul(MAX_AMPLIFICATION);
    let mut cost = 0;
    walk(bytes, Kind::Model, 0, limit, &mut cost)
}

/// What a function's bytes, which were read before, take in memory.
pub(crate) fn weigh_function(bytes: &[u8], limits: &LoadLimits) -> Result<usize, LoadError> {
    let limit = limits.max_bytes.saturating_mul(MAX_AMPLIFICATION);
    let mut cost = 0;
    walk(bytes, Kind::Function, 0, limit, &mut cost)?;
    Ok(cost)
}

fn walk(
    mut bytes: &[u8],
    kind: Kind,
    depth: usize,
    limit: usize,
    cost: &mut usize,
) -> Result<(), LoadError> {
    if depth > MAX_DEPTH {
        return Err(malformed(&format!(
            "messages are nested more than {MAX_DEPTH} deep"
        )));
    }
    while !bytes.is_empty() {
        let key = read_varint(&mut bytes)?;
        match key & 7 {
            0 => {
                read_varint(&mut bytes)?;
                *cost += 8;
            }
            1 => {
                take(&mut bytes, 8)?;
                *cost += 8;
            }
            5 => {
                take(&mut bytes, 4)?;
                *cost += 8;
            }
            2 => {
                let length = read_varint(&mut bytes)?;
                let content = take(&mut bytes, usize::try_from(length).unwrap_or(usize::MAX))?;
                if let Some(kind) = child(kind, key >> 3) {
                    *cost += MESSAGE_COST;
                    walk(content, kind, depth + 1, limit, cost)?;
                } else if is_packed(kind, key >> 3) {
                    // One byte can hold one 8-byte integer.
                    *cost += content.len().saturating_mul(8);
                } else {
                    *cost += content.len() + STRING_COST;
                }
            }
            _ => return Err(malformed("a field has an unknown wire type")),
        }
        if *cost > limit {
            return Err(LoadError::TooLarge {
                what: "the decoded size in bytes".to_owned(),
                actual: *cost,
                limit,
            });
        }
    }
    Ok(())
}

/// True for the lists of variable-length integers, which may stand packed in one field.
fn is_packed(kind: Kind, field: u64) -> bool {
    matches!(
        (kind, field),
        (Kind::Attribute, 8) | (Kind::Tensor, 1 | 5 | 7 | 11) | (Kind::SparseTensor, 3)
    )
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], LoadError> {
    let (head, rest) = bytes
        .split_at_checked(length)
        .ok_or_else(|| malformed("a field is longer than what is left of the file"))?;
    *bytes = rest;
    Ok(head)
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, LoadError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number has more than ten bytes"))
}

fn malformed(reason: &str) -> LoadError {
    LoadError::Malformed {
        reason: reason.to_owned(),
    }
}
