//! A recurrent node drawn at random, as a model and as numbers.

use engine::{Tensor, TensorData};
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Lstm,
    Gru,
    Rnn,
}

impl Kind {
    pub(crate) fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Rnn => 1,
        }
    }

    pub(crate) fn functions(self) -> usize {
        match self {
            Self::Lstm => 3,
            Self::Gru => 2,
            Self::Rnn => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
            Self::Rnn => "RNN",
        }
    }
}

/// A named function with parameters, as the specification lists them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) alpha: Option<f32>,
    pub(crate) beta: Option<f32>,
}

/// A node and its inputs. Numbers are row-major.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each input may be there or not"
)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) direction: &'static str,
    pub(crate) layout: i64,
    pub(crate) steps: usize,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) clip: Option<f32>,
    /// None for the defaults.
    pub(crate) activations: Option<Vec<Function>>,
    /// `input_forget` of an LSTM, `linear_before_reset` of a GRU.
    pub(crate) switch: i64,
    pub(crate) has_bias: bool,
    pub(crate) has_peepholes: bool,
    pub(crate) has_hidden: bool,
    pub(crate) has_cell: bool,
    pub(crate) lengths: Option<Vec<i32>>,
    /// Which outputs are asked for.
    pub(crate) outputs: [bool; 3],
    /// Weights are inputs of the graph, not constants.
    pub(crate) are_weights_given: bool,
    pub(crate) seed: u64,
}

impl Case {
    pub(crate) fn directions(&self) -> usize {
        if self.direction == "bidirectional" {
            2
        } else {
            1
        }
    }

    /// The functions of a direction.
    pub(crate) fn functions(&self, direction: usize) -> Vec<Function> {
        let count = self.kind.functions();
        match &self.activations {
            Some(all) => all[direction * count..(direction + 1) * count].to_vec(),
            None => ["Sigmoid", "Tanh", "Tanh"][usize::from(count == 1)..]
                .iter()
                .take(count)
                .map(|name| function(name, None, None))
                .collect(),
        }
    }

    /// The shape of an input or output by its name in the specification.
    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        let (d, g, h) = (self.directions(), self.kind.gates(), self.hidden);
        let is_steps_first = self.layout == 0;
        match name {
            "X" if is_steps_first => vec![self.steps, self.rows, self.inputs],
            "X" => vec![self.rows, self.steps, self.inputs],
            "W" => vec![d, g * h, self.inputs],
            "R" => vec![d, g * h, h],
            "B" => vec![d, 2 * g * h],
            "P" => vec![d, 3 * h],
            "sequence_lens" => vec![self.rows],
            "Y" if is_steps_first => vec![self.steps, d, self.rows, h],
            "Y" => vec![self.rows, self.steps, d, h],
            _ if is_steps_first => vec![d, self.rows, h],
            _ => vec![self.rows, d, h],
        }
    }

    /// The numbers of an input: of the normal kind, and the same in each call; none where it is left out.
    pub(crate) fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        let (is_there, scale) = match name {
            "X" => (true, 1.0),
            "W" => (true, 0.4),
            // A state that its own weights make no larger, however wide: errors die out too.
            "R" => (true, 0.4_f64.min(1.2 / (self.hidden as f64).sqrt())),
            "B" => (self.has_bias, 0.5),
            "initial_h" => (self.has_hidden, 0.7),
            "initial_c" => (self.has_cell && self.kind == Kind::Lstm, 0.7),
            "P" => (self.has_peepholes && self.kind == Kind::Lstm, 0.5),
            _ => (false, 0.0),
        };
        let count = self.shape(name).iter().product();
        let mut state = name.bytes().fold(self.seed | 1, |state, byte| {
            state
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(u64::from(byte))
        });
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        is_there.then(|| {
            // What float32 holds, whatever the type of the model.
            (0..count)
                .map(|_| f64::from(((draw() + draw()) * scale) as f32))
                .collect()
        })
    }

    /// The model, and the tensors that it takes.
    pub(crate) fn model(&self, element: ElementType) -> (Vec<u8>, Vec<Tensor>) {
        let mut graph = GraphProto {
            name: "recurrent".to_owned(),
            ..GraphProto::default()
        };
        let mut tensors = Vec::new();
        let mut names = Vec::new();
        let most = if self.kind == Kind::Lstm { 8 } else { 6 };
        for name in [
            "X",
            "W",
            "R",
            "B",
            "sequence_lens",
            "initial_h",
            "initial_c",
            "P",
        ]
        .into_iter()
        .take(most)
        {
            let lengths = self.lengths.as_ref().filter(|_| name == "sequence_lens");
            let (data, kind) = match (lengths, self.numbers(name)) {
                (Some(lengths), _) => (TensorData::Int32(lengths.clone()), ElementType::Int32),
                (None, Some(numbers)) => (to_data(element, &numbers), element),
                (None, None) => {
                    names.push(String::new());
                    continue;
                }
            };
            let shape = self.shape(name);
            names.push(name.to_owned());
            if matches!(name, "W" | "R" | "B" | "P") && !self.are_weights_given {
                graph.initializer.push(to_proto(name, &shape, &data, kind));
                continue;
            }
            graph.input.push(value_info(name, kind, &shape));
            tensors.push(Tensor {
                name: name.to_owned(),
                shape,
                data,
            });
        }
        while names.last().is_some_and(String::is_empty) {
            names.pop();
        }
        let wanted = ["Y", "Y_h", "Y_c"].into_iter().zip(self.outputs);
        let most = if self.kind == Kind::Lstm { 3 } else { 2 };
        let outputs: Vec<String> = wanted
            .take(most)
            .map(|(name, is_wanted)| {
                if is_wanted {
                    name.to_owned()
                } else {
                    String::new()
                }
            })
            .collect();
        for name in outputs.iter().filter(|name| !name.is_empty()) {
            graph
                .output
                .push(value_info(name, element, &self.shape(name)));
        }
        graph.node.push(NodeProto {
            name: "net".to_owned(),
            op_type: self.kind.name().to_owned(),
            input: names,
            output: outputs,
            attribute: self.attributes(),
            ..NodeProto::default()
        });
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 14,
            }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        (model.encode_to_vec(), tensors)
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        let attribute = |name: &str, kind: AttributeType| AttributeProto {
            name: name.to_owned(),
            r#type: kind as i32,
            ..AttributeProto::default()
        };
        let integer = |name: &str, i: i64| AttributeProto {
            i,
            ..attribute(name, AttributeType::Int)
        };
        let mut found = vec![
            integer("hidden_size", self.hidden as i64),
            integer("layout", self.layout),
            AttributeProto {
                s: self.direction.into(),
                ..attribute("direction", AttributeType::String)
            },
        ];
        match self.kind {
            Kind::Lstm => found.push(integer("input_forget", self.switch)),
            Kind::Gru => found.push(integer("linear_before_reset", self.switch)),
            Kind::Rnn => {}
        }
        if let Some(f) = self.clip {
            found.push(AttributeProto {
                f,
                ..attribute("clip", AttributeType::Float)
            });
        }
        if let Some(functions) = &self.activations {
            found.push(AttributeProto {
                strings: functions.iter().map(|one| one.name.into()).collect(),
                ..attribute("activations", AttributeType::Strings)
            });
            let alphas = functions.iter().filter_map(|one| one.alpha).collect();
            let betas = functions.iter().filter_map(|one| one.beta).collect();
            for (name, floats) in [("activation_alpha", alphas), ("activation_beta", betas)] {
                found.push(AttributeProto {
                    floats,
                    ..attribute(name, AttributeType::Floats)
                });
            }
        }
        found
    }
}

pub(crate) fn function(name: &'static str, alpha: Option<f32>, beta: Option<f32>) -> Function {
    Function { name, alpha, beta }
}

fn to_data(element: ElementType, numbers: &[f64]) -> TensorData {
    match element {
        ElementType::Double => TensorData::Fp64(numbers.to_vec()),
        ElementType::Float16 => {
            TensorData::Fp16(numbers.iter().map(|x| half::f16::from_f64(*x)).collect())
        }
        _ => TensorData::Fp32(numbers.iter().map(|x| *x as f32).collect()),
    }
}

fn to_proto(name: &str, shape: &[usize], data: &TensorData, kind: ElementType) -> TensorProto {
    let raw_data = match data {
        TensorData::Fp64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Fp32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Fp16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => panic!("{:?}", other.datatype()),
    };
    TensorProto {
        name: name.to_owned(),
        dims: shape.iter().map(|dim| *dim as i64).collect(),
        data_type: kind as i32,
        raw_data,
        ..TensorProto::default()
    }
}

fn value_info(name: &str, kind: ElementType, shape: &[usize]) -> ValueInfoProto {
    let dim = |dim: &usize| Dimension {
        value: Some(dimension::Value::DimValue(*dim as i64)),
        ..Dimension::default()
    };
    let tensor = TensorType {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn any_function() -> impl Strategy<Value = Function> {
    let alpha = prop_oneof![Just(0.3_f32), Just(0.8), Just(1.2)];
    prop_oneof![
        4 => prop_oneof![
            Just("Sigmoid"), Just("Tanh"), Just("Relu"), Just("Softsign"), Just("Softplus"), Just("relu"),
        ]
        .prop_map(|name| function(name, None, None)),
        2 => (prop_oneof![Just("Affine"), Just("ScaledTanh"), Just("HardSigmoid")], alpha.clone(), alpha.clone())
            .prop_map(|(name, alpha, beta)| function(name, Some(alpha), Some(beta))),
        2 => (prop_oneof![Just("LeakyRelu"), Just("Elu"), Just("ThresholdedRelu")], alpha)
            .prop_map(|(name, alpha)| function(name, Some(alpha), None)),
    ]
}

/// Any node, small.
pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![3 => Just(Kind::Lstm), 3 => Just(Kind::Gru), 2 => Just(Kind::Rnn)];
    let direction = prop_oneof![Just("forward"), Just("reverse"), Just("bidirectional")];
    let outputs = prop_oneof![
        Just([true, true, true]),
        Just([true, false, false]),
        Just([false, true, false]),
        Just([false, true, true]),
        Just([true, false, true]),
    ];
    let form = (kind, direction, 0..2_i64, 0..2_i64, outputs, any::<u64>());
    let sizes = (1..7_usize, 1..10_usize, 1..6_usize, 1..36_usize);
    let flags = (
        any::<[bool; 5]>(),
        any::<bool>(),
        prop_oneof![Just(None), Just(Some(0.6_f32))],
    );
    (form, sizes, flags).prop_flat_map(|(form, sizes, (flags, has_lengths, clip))| {
        let (kind, direction, layout, switch, outputs, seed) = form;
        let (steps, rows, inputs, hidden) = sizes;
        let directions = if direction == "bidirectional" { 2 } else { 1 };
        let count = kind.functions() * directions;
        let activations = proptest::option::of(proptest::collection::vec(any_function(), count));
        let lengths = proptest::collection::vec(0..=steps as i32, rows);
        (activations, lengths).prop_map(move |(activations, lengths)| Case {
            kind,
            direction,
            layout,
            steps,
            rows,
            inputs,
            hidden,
            clip,
            activations,
            switch,
            has_bias: flags[0],
            has_peepholes: flags[1],
            has_hidden: flags[2],
            has_cell: flags[3],
            lengths: has_lengths.then_some(lengths),
            // An RNN and a GRU have no third output.
            outputs: if kind == Kind::Lstm {
                outputs
            } else {
                [outputs[0], !outputs[0] || outputs[1], false]
            },
            are_weights_given: flags[4],
            seed,
        })
    })
}
