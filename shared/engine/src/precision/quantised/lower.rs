//! Writes the quantiser's operators out as this crate's kernels.

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

use crate::attributes::{find, float, int};
use crate::check::{invalid, unsupported};
use crate::error::LoadError;
use crate::precision::MICROSOFT_DOMAIN;
use crate::precision::draft::{Draft, cast_to, int_attribute, ints_attribute};
use crate::precision::place;
use crate::precision::types::Types;
use crate::sequence;

/// The operators of `com.microsoft` that are run; sorted.
pub(crate) const MICROSOFT_OPERATORS: &[&str] = &[
    "DequantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QuantizeLinear",
];

/// What the author of a model can do about an operator of `com.microsoft` that is not run.
pub(crate) fn hint(operator: &str) -> &'static str {
    if operator.starts_with('Q') || operator.starts_with("DynamicQuantize") {
        "quantise with quant_format=QuantFormat.QDQ, and no fused attention before it"
    } else {
        "export the model with standard operators only, without onnxruntime's fusions"
    }
}

/// Lowers the quantiser's operators; true where there were any.
pub(crate) fn lower(graph: &mut GraphProto, opset: i64) -> Result<bool, LoadError> {
    if !graph.node.iter().any(is_quantised) {
        return Ok(false);
    }
    let types = Types::infer(graph);
    let (draft, nodes) = Draft::open(graph);
    let mut lowering = Lowering { draft, opset };
    for node in nodes {
        lowering.node(node, &types)?;
    }
    lowering.draft.close(graph);
    Ok(true)
}

fn is_quantised(node: &NodeProto) -> bool {
    let operator = node.op_type.as_str();
    (node.domain == MICROSOFT_DOMAIN && MICROSOFT_OPERATORS.binary_search(&operator).is_ok())
        || matches!(
            operator,
            "QuantizeLinear"
                | "DequantizeLinear"
                | "DynamicQuantizeLinear"
                | "MatMulInteger"
                | "ConvInteger"
                | "QLinearMatMul"
                | "QLinearConv"
        ) && node.domain != crate::check::ML_DOMAIN
}

struct Lowering {
    draft: Draft,
    opset: i64,
}

impl Lowering {
    fn node(&mut self, node: NodeProto, types: &Types) -> Result<(), LoadError> {
        if !is_quantised(&node) {
            let is_whole = matches!(
                types.of_input(&node, 0),
                Some(ElementType::Uint8 | ElementType::Int8)
            );
            if is_whole && node.op_type == "MaxPool" && node.output.len() == 1 {
                return self.pool(&node, types);
            }
            self.draft.nodes.push(node);
            return Ok(());
        }
        let same = match node.op_type.as_str() {
            "QuantizeLinear" => "int8.Quantise",
            "DequantizeLinear" => "int8.Dequantise",
            "DynamicQuantizeLinear" => "int8.QuantiseByRange",
            "MatMulInteger" => "int8.Multiply",
            "ConvInteger" => "int8.Convolve",
            "DynamicQuantizeLSTM" => "int8.Lstm",
            _ => "",
        };
        if same == "int8.Lstm" {
            sequence::check_quantised(&node)?;
        }
        if !same.is_empty() {
            self.draft.nodes.push(place(node, same)?);
            return Ok(());
        }
        let [output] = &*node.output else {
            return Err(invalid(
                &node,
                format!("{} outputs where there is one", node.output.len()),
            ));
        };
        let least = match node.op_type.as_str() {
            "QLinearMatMul" | "QLinearConv" => 8,
            "QGemm" => 6,
            "QLinearAdd" | "QLinearMul" | "QLinearWhere" => 7,
            "QLinearConcat" => 5,
            "DynamicQuantizeMatMul" => 3,
            _ => 4,
        };
        if node.input.len() < least {
            return Err(invalid(
                &node,
                format!("{} inputs where {least} are needed", node.input.len()),
            ));
        }
        match node.op_type.as_str() {
            "QLinearMatMul" => self.product(&node, output),
            "QLinearConv" => self.convolution(&node, output),
            "QGemm" => self.gemm(&node, output, types)?,
            "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" => {
                self.product_of_floats(&node, output);
            }
            "QLinearConcat" => self.concatenation(&node, output)?,
            _ => self.through_floats(&node, output)?,
        }
        Ok(())
    }

    fn product(&mut self, node: &NodeProto, output: &str) {
        let at = |at: usize| input(node, at);
        let sums = self.draft.add(
            "int8.Multiply",
            &[at(0), at(3), at(2), at(5)],
            output,
            vec![],
        );
        let ends = [&sums, at(1), at(4), at(6), at(7)];
        self.draft.make("int8.Requantise", &ends, output, vec![]);
    }

    fn convolution(&mut self, node: &NodeProto, output: &str) {
        let at = |at: usize| input(node, at);
        let sums = self.draft.add(
            "int8.Convolve",
            &[at(0), at(3), at(2), at(5)],
            output,
            node.attribute.clone(),
        );
        self.draft.make(
            "int8.Requantise",
            &[&sums, at(1), at(4), at(6), at(7), at(8)],
            output,
            vec![int_attribute("axis", 1)],
        );
    }

    fn gemm(&mut self, node: &NodeProto, output: &str, types: &Types) -> Result<(), LoadError> {
        let at = |at: usize| input(node, at);
        let mut sides = [at(0).to_owned(), at(3).to_owned()];
        for (side, flag) in sides.iter_mut().zip(["transA", "transB"]) {
            if int(node, flag).unwrap_or(0) != 0 {
                let perm = vec![ints_attribute("perm", vec![1, 0])];
                *side = self.draft.add("Transpose", &[side], side, perm);
            }
        }
        if !at(6).is_empty() && types.of_input(node, 6) != Some(ElementType::Int32) {
            return Err(invalid(node, "its bias is not INT32"));
        }
        let mut sums = self.draft.add(
            "int8.Multiply",
            &[&sides[0], &sides[1], at(2), at(5)],
            output,
            vec![],
        );
        if !at(6).is_empty() {
            sums = self.draft.add("Add", &[&sums, at(6)], output, vec![]);
        }
        let alpha = AttributeProto {
            name: "alpha".to_owned(),
            f: float(node, "alpha").unwrap_or(1.0),
            ..AttributeProto::default()
        };
        let ends = [&sums, at(1), at(4), at(7), at(8)];
        self.draft
            .make("int8.Requantise", &ends, output, vec![alpha]);
        Ok(())
    }

    /// Products whose result is float: of floats that are quantised first, or of small integers.
    fn product_of_floats(&mut self, node: &NodeProto, output: &str) {
        let at = |at: usize| input(node, at);
        let (a, scale_a, zero_a, scale_b, zero_b, bias);
        if node.op_type == "DynamicQuantizeMatMul" {
            let names = ["whole", "scale", "zero"].map(|part| self.draft.name(output, part));
            self.draft.nodes.push(NodeProto {
                op_type: "int8.QuantiseByRange".to_owned(),
                input: vec![at(0).to_owned()],
                output: names.to_vec(),
                ..NodeProto::default()
            });
            [a, scale_a, zero_a] = names;
            (scale_b, zero_b, bias) = (at(2), at(3), at(4));
        } else {
            (a, scale_a, zero_a) = (at(0).to_owned(), at(2).to_owned(), at(4).to_owned());
            (scale_b, zero_b, bias) = (at(3), at(5), at(6));
        }
        let sums = self.draft.add(
            "int8.Multiply",
            &[&a, at(1), &zero_a, zero_b],
            output,
            vec![],
        );
        let ends = [&*sums, &scale_a, scale_b];
        if bias.is_empty() {
            self.draft.make("int8.Requantise", &ends, output, vec![]);
        } else {
            let product = self.draft.add("int8.Requantise", &ends, output, vec![]);
            self.draft.make("Add", &[&product, bias], output, vec![]);
        }
    }

    fn concatenation(&mut self, node: &NodeProto, output: &str) -> Result<(), LoadError> {
        if !(node.input.len() - 2).is_multiple_of(3) {
            return Err(invalid(
                node,
                "its inputs are not a result's scale and zero point, then three for each part",
            ));
        }
        let parts: Vec<String> = (2..node.input.len())
            .step_by(3)
            .map(|at| self.dequantise(node, at))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let whole = self
            .draft
            .add("Concat", &parts, output, node.attribute.clone());
        self.quantise(node, &whole, 0, output);
        Ok(())
    }

    /// An operator that is what its name says: dequantised, computed in float32, quantised.
    fn through_floats(&mut self, node: &NodeProto, output: &str) -> Result<(), LoadError> {
        let operator = node.op_type.trim_start_matches("QLinear");
        let mut attributes = node.attribute.clone();
        let (inputs, end) = match operator {
            "Add" | "Mul" => (vec![self.dequantise(node, 0), self.dequantise(node, 3)], 6),
            "Where" => {
                let sides = [self.dequantise(node, 1), self.dequantise(node, 4)];
                (
                    [vec![input(node, 0).to_owned()], sides.to_vec()].concat(),
                    7,
                )
            }
            "Softmax" => {
                let stated = int(node, "opset").unwrap_or(self.opset);
                if (stated >= 13) != (self.opset >= 13) {
                    return Err(unsupported(
                        node,
                        "its operator set differs from the model's across version 13",
                        "quantise with quant_format=QuantFormat.QDQ",
                    ));
                }
                attributes.retain(|attribute| attribute.name == "axis");
                (vec![self.dequantise(node, 0)], 3)
            }
            "AveragePool" | "GlobalAveragePool" => {
                if find(node, "channels_last").is_some_and(|attribute| attribute.i != 0) {
                    return Err(unsupported(
                        node,
                        "channels that come last are not run",
                        "quantise the model before it is optimised for a device",
                    ));
                }
                attributes.retain(|attribute| attribute.name != "channels_last");
                (vec![self.dequantise(node, 0)], 3)
            }
            _ => (vec![self.dequantise(node, 0)], 3),
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let made = self.draft.add(operator, &inputs, output, attributes);
        self.quantise(node, &made, end, output);
        Ok(())
    }

    /// The floats of a value that stands at an input, before its scale and zero point.
    fn dequantise(&mut self, node: &NodeProto, at: usize) -> String {
        let inputs = [input(node, at), input(node, at + 1), input(node, at + 2)];
        self.draft
            .add("int8.Dequantise", &inputs, inputs[0], vec![])
    }

    /// Quantises to the scale that stands at an input, before its zero point.
    fn quantise(&mut self, node: &NodeProto, value: &str, at: usize, output: &str) {
        let inputs = [value, input(node, at), input(node, at + 1)];
        self.draft.make("int8.Quantise", &inputs, output, vec![]);
    }

    /// The largest of small integers, which floats hold exactly.
    fn pool(&mut self, node: &NodeProto, types: &Types) -> Result<(), LoadError> {
        let ([x, ..], [output, ..], Some(kind)) =
            (&*node.input, &*node.output, types.of_input(node, 0))
        else {
            return Err(invalid(node, "it has no input or no output"));
        };
        let wide = self.draft.add("Cast", &[x], x, cast_to(ElementType::Float));
        let made = self
            .draft
            .add("MaxPool", &[&wide], output, node.attribute.clone());
        self.draft.make("Cast", &[&made], output, cast_to(kind));
        Ok(())
    }
}

/// An input's name; empty where it is left out.
fn input(node: &NodeProto, at: usize) -> &str {
    node.input.get(at).map_or("", String::as_str)
}
