//! The packed form of a model: what is left of the ONNX file to load once its tree ensembles are built.
//!
//! Only a model that runs without the graph engine has one. It is written when the model is sealed and spares a
//! cold start the reading of lists of a number a node: the trees stand in the form in which they are walked, and
//! the rest of the graph, which is small, as it stood in the file.
//!
//! All numbers are little-endian, and nothing is aligned:
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `SEALPACK` |
//! | 4 | the form's version, [`PACKED_FORMAT`] |
//! | 4 | CRC-32 of all that follows |
//! | 8, then as many | length, then the ONNX model (protobuf), its tree operators without attributes |
//! | 4 | number of tree operators |
//! | rest | the operators, in the graph's order |
//!
//! The same ONNX file gives the same bytes on every machine. What an untrusted file of this form can do is what
//! an untrusted ONNX file can: the graph passes the same checks, every number that is a place is checked, and a
//! row's cost is at most proportional to the file's length. The checksum tells damage; that a file is the one
//! that was sealed is for a signature over it to say.

mod bytes;

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use crate::check::{self, is_tree_ensemble};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::tree::{Ensembles, TreeOperator, ensemble_name};

pub(crate) use bytes::{Element, Reader, Writer};

/// The version of the packed form that is written and read. Any change of the bytes that a model is packed to is
/// another version.
pub const PACKED_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"SEALPACK";
/// Length of what stands before the body: the magic, the version and the checksum.
const HEADER: usize = 16;

/// Writes the packed form of a model, given its tree operators in the graph's order.
pub(crate) fn write<'a>(
    model: ModelProto,
    trees: impl ExactSizeIterator<Item = &'a TreeOperator>,
) -> Vec<u8> {
    let graph = strip(model).encode_to_vec();
    let mut body = Writer::default();
    body.one(graph.len() as u64);
    body.many(graph);
    body.count(trees.len());
    for operator in trees {
        operator.pack(&mut body);
    }
    let body = body.into_bytes();
    let mut packed = Vec::with_capacity(HEADER + body.len());
    packed.extend_from_slice(MAGIC);
    packed.extend_from_slice(&PACKED_FORMAT.to_le_bytes());
    packed.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    packed.extend(body);
    packed
}

/// Reads a packed form: the graph, which is not validated yet, and its tree ensembles, which are.
pub(crate) fn read(
    packed: &[u8],
    limits: &LoadLimits,
) -> Result<(ModelProto, Ensembles), LoadError> {
    let mut input = Reader::new(packed);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(input.fault("it does not begin with SEALPACK"));
    }
    let found = input.one()?;
    if found != PACKED_FORMAT {
        return Err(LoadError::PackedFormat { found });
    }
    let expected: u32 = input.one()?;
    let sum = crc32fast::hash(input.rest());
    if sum != expected {
        return Err(input.fault(format!(
            "it was damaged: its checksum is {sum:08x}, and {expected:08x} was written"
        )));
    }
    let length = usize::try_from(input.one::<u64>()?).unwrap_or(usize::MAX);
    let model = check::decode(input.take(length)?, limits)?;
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let nodes: Vec<&NodeProto> = nodes.filter(|node| is_tree_ensemble(node)).collect();
    let count = input.count()?;
    if count != nodes.len() {
        return Err(input.fault(format!(
            "{count} tree ensembles for {} nodes of the graph",
            nodes.len()
        )));
    }
    let mut left = limits.max_tree_nodes;
    let mut ensembles = HashMap::with_capacity(count);
    for node in nodes {
        let operator = TreeOperator::unpack(&mut input, &mut left, limits)?;
        let name = ensemble_name(node).to_owned();
        if ensembles.insert(name, operator).is_some() {
            return Err(input.fault("two tree ensembles make the same output"));
        }
    }
    if !input.rest().is_empty() {
        return Err(input.fault(format!("{} bytes are left over", input.rest().len())));
    }
    Ok((model, ensembles))
}

/// Keeps of a model what is needed to run it, without the attributes of tree ensembles.
fn strip(model: ModelProto) -> ModelProto {
    let graph = model.graph.map(|graph| GraphProto {
        node: graph.node.into_iter().map(strip_node).collect(),
        initializer: graph.initializer,
        input: graph.input,
        output: graph.output,
        ..GraphProto::default()
    });
    ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import,
        graph,
        ..ModelProto::default()
    }
}

fn strip_node(mut node: NodeProto) -> NodeProto {
    node.doc_string.clear();
    if is_tree_ensemble(&node) {
        node.attribute.clear();
    }
    node
}
