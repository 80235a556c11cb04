//! `Compress` by a constant condition: it picks the same places from every tensor.

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::{Constants, invalid, unsupported};
use crate::attributes::int;
use crate::error::LoadError;

/// Refuses one whose condition is made of the rows: what it makes would have another shape each time.
pub(super) fn check(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let [_, condition] = &*node.input else {
        return Err(invalid(node, "a tensor and a condition are taken"));
    };
    if constants.flags(condition).is_none() {
        return Err(unsupported(
            node,
            "its condition is no constant, so that the shape of its output hangs on the rows",
            "impute with SimpleImputer, or choose by a mask that is multiplied",
        ));
    }
    // One that counts from the back may be the batch.
    if int(node, "axis").is_none_or(|axis| axis <= 0) {
        return Err(unsupported(
            node,
            "it picks among the rows of a batch",
            "state the axis of the columns, counted from the front",
        ));
    }
    Ok(())
}

/// Turns each into `Gather`.
pub(crate) fn replace(graph: &mut GraphProto) {
    let constants = Constants::collect(graph);
    let is_compress =
        |node: &NodeProto| node.op_type == "Compress" && matches!(&*node.domain, "" | "ai.onnx");
    let places: Vec<Option<Vec<i64>>> = graph
        .node
        .iter()
        .map(|node| {
            let condition = node.input.get(1).filter(|_| is_compress(node))?;
            let flags = constants.flags(condition)?;
            let kept = flags.iter().enumerate().filter(|(_, flag)| **flag);
            Some(kept.map(|(at, _)| at as i64).collect())
        })
        .collect();
    for (node, places) in graph.node.iter_mut().zip(places) {
        let Some(places) = places else { continue };
        let name = format!("{}.places", node.output.first().map_or("", String::as_str));
        "Gather".clone_into(&mut node.op_type);
        node.input[1].clone_from(&name);
        graph.initializer.push(TensorProto {
            name,
            data_type: ElementType::Int64 as i32,
            dims: vec![places.len() as i64],
            int64_data: places,
            ..TensorProto::default()
        });
    }
}
