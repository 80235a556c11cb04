//! Graphs in float64, float16 and int8: what they answer, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "equality is what is asked")]

#[path = "onnx/node.rs"]
mod node;
#[path = "onnx/value.rs"]
mod value;

use engine::{LoadError, LoadLimits, Model, Tensor, TensorData, inspect};
use half::f16;
use node::{node, with_int};
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use value::value;

fn microsoft(mut node: NodeProto) -> NodeProto {
    "com.microsoft".clone_into(&mut node.domain);
    node
}

fn with_float(mut node: NodeProto, name: &str, f: f32) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 1,
        f,
        ..AttributeProto::default()
    });
    node
}

fn cast(from: &str, to: &str, kind: DataType) -> NodeProto {
    with_int(node("Cast", &[from], &[to]), "to", i64::from(kind as i32))
}

/// An initialiser of raw bytes.
fn stored<const N: usize>(
    name: &str,
    kind: DataType,
    dims: &[i64],
    values: &[[u8; N]],
) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: kind as i32,
        dims: dims.to_vec(),
        raw_data: values.concat(),
        ..TensorProto::default()
    }
}

fn singles(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let bytes: Vec<[u8; 4]> = values.iter().map(|value| value.to_le_bytes()).collect();
    stored(name, DataType::Float, dims, &bytes)
}

fn doubles(name: &str, dims: &[i64], values: &[f64]) -> TensorProto {
    let bytes: Vec<[u8; 8]> = values.iter().map(|value| value.to_le_bytes()).collect();
    stored(name, DataType::Double, dims, &bytes)
}

fn halves(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let bytes: Vec<[u8; 2]> = values
        .iter()
        .map(|value| f16::from_f32(*value).to_le_bytes())
        .collect();
    stored(name, DataType::Float16, dims, &bytes)
}

fn bytes(name: &str, dims: &[i64], values: &[u8]) -> TensorProto {
    let values: Vec<[u8; 1]> = values.iter().map(|value| [*value]).collect();
    stored(name, DataType::Uint8, dims, &values)
}

fn signed(name: &str, dims: &[i64], values: &[i8]) -> TensorProto {
    let values: Vec<[u8; 1]> = values.iter().map(|value| value.to_le_bytes()).collect();
    stored(name, DataType::Int8, dims, &values)
}

/// A graph from `x` to `y`.
fn graph(
    input: (DataType, &[i64]),
    output: DataType,
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> Vec<u8> {
    let set = |domain: &str, version: i64| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    ModelProto {
        ir_version: 10,
        opset_import: vec![set("", 20), set("com.microsoft", 1)],
        graph: Some(GraphProto {
            node,
            initializer,
            input: vec![value("x", input.0, input.1)],
            output: vec![value("y", output, &[])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

fn load(onnx: &[u8]) -> Model {
    Model::load(onnx, &LoadLimits::default()).unwrap()
}

fn ask(model: &Model, shape: &[usize], data: TensorData) -> TensorData {
    let x = Tensor {
        name: "x".to_owned(),
        shape: shape.to_vec(),
        data,
    };
    model.run(&[x]).unwrap().remove(0).data
}

fn ask_double(onnx: &[u8], shape: &[usize], values: &[f64]) -> Vec<f64> {
    match ask(&load(onnx), shape, TensorData::Fp64(values.to_vec())) {
        TensorData::Fp64(values) => values,
        other => panic!("{other:?}"),
    }
}

fn ask_single(model: &Model, shape: &[usize], values: &[f32]) -> Vec<f32> {
    match ask(model, shape, TensorData::Fp32(values.to_vec())) {
        TensorData::Fp32(values) => values,
        other => panic!("{other:?}"),
    }
}

fn ask_half(onnx: &[u8], shape: &[usize], values: &[f32]) -> Vec<f16> {
    let values = values.iter().map(|value| f16::from_f32(*value)).collect();
    match ask(&load(onnx), shape, TensorData::Fp16(values)) {
        TensorData::Fp16(values) => values,
        other => panic!("{other:?}"),
    }
}

const ROWS: &[i64] = &[-1, 2];

#[test]
fn float16_answers_are_rounded_once_and_overflow_where_the_type_does() {
    let nodes = vec![
        node("Mul", &["x", "large"], &["between"]),
        node("Div", &["between", "small"], &["y"]),
    ];
    let constants = vec![
        halves("large", &[], &[1000.0]),
        halves("small", &[], &[2.0]),
    ];
    let onnx = graph(
        (DataType::Float16, ROWS),
        DataType::Float16,
        nodes,
        constants,
    );
    // The product of 100 and 1000 is no float16; its half is, and is not lost on the way.
    let found = ask_half(&onnx, &[2, 2], &[100.0, 200.0, -200.0, 0.333]);
    let expected = [50_000.0, f32::INFINITY, f32::NEG_INFINITY, {
        f16::from_f32(0.333).to_f32() * 500.0
    }];
    assert_eq!(found, expected.map(f16::from_f32));
}

#[test]
fn cast_to_float16_within_a_graph_rounds() {
    let nodes = vec![
        cast("x", "narrow", DataType::Float16),
        cast("narrow", "y", DataType::Float),
    ];
    let onnx = graph((DataType::Float, ROWS), DataType::Float, nodes, vec![]);
    let found = ask_single(&load(&onnx), &[1, 2], &[0.1, 70_000.0]);
    assert_eq!(found, [f16::from_f32(0.1).to_f32(), f32::INFINITY]);
}

#[test]
fn float16_outputs_may_be_values_that_other_nodes_read() {
    let mut model = ModelProto::decode(&*graph(
        (DataType::Float16, ROWS),
        DataType::Float16,
        vec![
            node("Add", &["x", "x"], &["y"]),
            node("Mul", &["y", "y"], &["z"]),
        ],
        vec![],
    ))
    .unwrap();
    let outputs = &mut model.graph.as_mut().unwrap().output;
    outputs.push(value("z", DataType::Float16, &[]));
    let model = load(&model.encode_to_vec());
    let x = Tensor {
        name: "x".to_owned(),
        shape: vec![1, 2],
        data: TensorData::Fp16(vec![f16::from_f32(1.5), f16::from_f32(-2.0)]),
    };
    let made = model.run(&[x]).unwrap();
    let names: Vec<&str> = made.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["y", "z"]);
    assert_eq!(
        made[0].data,
        TensorData::Fp16([3.0, -4.0].map(f16::from_f32).to_vec())
    );
    assert_eq!(
        made[1].data,
        TensorData::Fp16([9.0, 16.0].map(f16::from_f32).to_vec())
    );
}

#[test]
fn bfloat16_is_refused_by_its_name() {
    let onnx = graph(
        (DataType::Bfloat16, ROWS),
        DataType::Bfloat16,
        vec![node("Relu", &["x"], &["y"])],
        vec![],
    );
    let error = Model::load(&onnx, &LoadLimits::default()).unwrap_err();
    assert!(error.to_string().contains("BFLOAT16"), "{error}");
}

/// An operator and its definition.
type Function = (&'static str, fn(f64) -> f64);

/// The functions of one number that float64 graphs have beside arithmetic, and their definitions.
const FUNCTIONS: &[Function] = &[
    ("Sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
    ("Tanh", f64::tanh),
    ("Exp", f64::exp),
    ("Softplus", |x| if x > 40.0 { x } else { x.exp().ln_1p() }),
    ("Softsign", |x| x / (1.0 + x.abs())),
    ("Elu", |x| if x < 0.0 { x.exp() - 1.0 } else { x }),
    ("LeakyRelu", |x| {
        if x < 0.0 { x * f64::from(0.01_f32) } else { x }
    }),
    ("HardSwish", |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
    ("Relu", |x| x.max(0.0)),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn float64_functions_are_as_exact_as_the_type(x in prop::array::uniform2(-30.0..30.0_f64)) {
        for (operator, function) in FUNCTIONS {
            let onnx = graph(
                (DataType::Double, ROWS), DataType::Double, vec![node(operator, &["x"], &["y"])], vec![],
            );
            for (found, x) in ask_double(&onnx, &[1, 2], &x).iter().zip(x) {
                let expected = function(x);
                // `exp(x) - 1` loses what lies below 1.
                let size = expected.abs().max(1e-3);
                prop_assert!((found - expected).abs() <= 1e-12 * size, "{operator}({x}) is {found}, not {expected}");
            }
        }
    }

    #[test]
    fn float64_gemm_scales_transposes_and_adds(
        x in prop::array::uniform4(-3.0..3.0_f64),
        w in prop::array::uniform6(-3.0..3.0_f64),
        c in prop::array::uniform3(-3.0..3.0_f64),
        alpha in -2.0..2.0_f32,
        beta in -2.0..2.0_f32,
    ) {
        let gemm = node("Gemm", &["x", "w", "c"], &["y"]);
        let gemm = with_float(with_float(with_int(gemm, "transB", 1), "alpha", alpha), "beta", beta);
        let constants = vec![doubles("w", &[3, 2], &w), doubles("c", &[3], &c)];
        let onnx = graph((DataType::Double, ROWS), DataType::Double, vec![gemm], constants);
        let found = ask_double(&onnx, &[2, 2], &x);
        for (at, found) in found.iter().enumerate() {
            let (row, column) = (at / 3, at % 3);
            let product = x[row * 2] * w[column * 2] + x[row * 2 + 1] * w[column * 2 + 1];
            let expected = f64::from(alpha) * product + f64::from(beta) * c[column];
            prop_assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn dynamically_quantised_rows_answer_as_if_they_were_alone(
        x in prop::collection::vec(-1e3..1e3_f32, 10), w in prop::array::uniform6(any::<i8>()),
    ) {
        let nodes = vec![
            node("DynamicQuantizeLinear", &["x"], &["whole", "scale", "zero"]),
            node("MatMulInteger", &["whole", "w", "zero", ""], &["sums"]),
            cast("sums", "floats", DataType::Float),
            node("Mul", &["floats", "scale"], &["y"]),
        ];
        let onnx = graph((DataType::Float, ROWS), DataType::Float, nodes, vec![signed("w", &[2, 3], &w)]);
        let model = load(&onnx);
        let together = ask_single(&model, &[5, 2], &x);
        for (row, together) in x.chunks_exact(2).zip(together.chunks_exact(3)) {
            let alone = ask_single(&model, &[1, 2], row);
            prop_assert_eq!(&alone, together);
            // onnxruntime's rule: the range holds 0, 255 steps, ties to even.
            let (low, high) = (row[0].min(row[1]).min(0.0), row[0].max(row[1]).max(0.0));
            let scale = if low == high { 1.0 } else { (high - low) / 255.0 };
            let zero = (-low / scale).round_ties_even();
            let whole = |x: f32| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero;
            for (column, found) in alone.iter().enumerate() {
                let sum = whole(row[0]) * f32::from(w[column]) + whole(row[1]) * f32::from(w[3 + column]);
                prop_assert_eq!(*found, sum * scale);
            }
        }
    }

    #[test]
    fn qgemm_sums_whole_numbers_and_rounds_once(
        x in prop::array::uniform2(any::<u8>()),
        w in prop::array::uniform6(any::<i8>()),
        bias in prop::array::uniform3(-2000..2000_i32),
        zero in any::<u8>(),
    ) {
        let stored_bias: Vec<[u8; 4]> = bias.iter().map(|value| value.to_le_bytes()).collect();
        let constants = vec![
            singles("sx", &[], &[0.05]), bytes("zx", &[], &[zero]),
            signed("w", &[3, 2], &w), singles("sw", &[3], &[0.02, 0.01, 0.5]), signed("zw", &[3], &[0, 1, -2]),
            stored("bias", DataType::Int32, &[3], &stored_bias),
            singles("sy", &[], &[0.25]), bytes("zy", &[], &[100]),
        ];
        let inputs = ["x", "sx", "zx", "w", "sw", "zw", "bias", "sy", "zy"];
        let gemm = microsoft(with_int(node("QGemm", &inputs, &["y"]), "transB", 1));
        let onnx = graph((DataType::Uint8, ROWS), DataType::Uint8, vec![gemm], constants);
        let TensorData::Uint8(found) = ask(&load(&onnx), &[1, 2], TensorData::Uint8(x.to_vec())) else {
            panic!("another type");
        };
        for column in 0..3 {
            let weight = |at: usize| i32::from(w[column * 2 + at]) - [0, 1, -2][column];
            let sum: i32 = (0..2).map(|at| (i32::from(x[at]) - i32::from(zero)) * weight(at)).sum();
            let factor = 0.05_f32 * [0.02_f32, 0.01, 0.5][column] / 0.25;
            let expected = (((sum + bias[column]) as f32 * factor).round_ties_even() + 100.0).clamp(0.0, 255.0);
            prop_assert_eq!(f32::from(found[column]), expected);
        }
    }
}

#[test]
fn functions_do_not_overflow_at_the_ends_of_float64() {
    let ends = [-800.0, 800.0];
    for (operator, expected) in [
        ("Sigmoid", [0.0, 1.0]),
        ("Softplus", [0.0, 800.0]),
        ("Mish", [0.0, 800.0]),
    ] {
        let onnx = graph(
            (DataType::Double, ROWS),
            DataType::Double,
            vec![node(operator, &["x"], &["y"])],
            vec![],
        );
        let found = ask_double(&onnx, &[1, 2], &ends);
        assert!(
            (found[0] - expected[0]).abs() < 1e-300 && found[1] == expected[1],
            "{operator}: {found:?}"
        );
    }
}

#[test]
fn float64_erf_is_as_exact_as_the_type() {
    let onnx = graph(
        (DataType::Double, ROWS),
        DataType::Double,
        vec![node("Erf", &["x"], &["y"])],
        vec![],
    );
    // Abramowitz and Stegun, table 7.1, and the complement's asymptotic value.
    let found = ask_double(&onnx, &[2, 2], &[0.5, 1.0, -2.0, 6.5]);
    let expected = [
        0.520_499_877_813_046_5,
        0.842_700_792_949_714_9,
        -0.995_322_265_018_952_7,
        1.0,
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-15,
            "{found} is not {expected}"
        );
    }
}

#[test]
fn missing_values_stay_missing_in_float64() {
    for operator in [
        "Relu",
        "Sigmoid",
        "Elu",
        "Gelu",
        "HardSwish",
        "ThresholdedRelu",
        "Shrink",
    ] {
        let onnx = graph(
            (DataType::Double, ROWS),
            DataType::Double,
            vec![node(operator, &["x"], &["y"])],
            vec![],
        );
        assert!(
            ask_double(&onnx, &[1, 2], &[f64::NAN, 1.0])[0].is_nan(),
            "{operator}"
        );
    }
}

fn refusal(onnx: &[u8], operator: &str) -> (String, String) {
    let error = Model::load(onnx, &LoadLimits::default()).unwrap_err();
    let told = inspect(onnx, &LoadLimits::default()).unwrap().unsupported;
    assert!(told.iter().any(|one| one.operator == operator), "{told:?}");
    match error {
        LoadError::UnsupportedOperator {
            operator: found,
            reason,
            hint,
            ..
        } => {
            assert_eq!(found, operator);
            (reason, hint)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn operators_that_would_be_computed_in_float32_are_refused_in_float64() {
    let shape: &[i64] = &[-1, 2, 4];
    let pool = node("LpNormalization", &["x"], &["y"]);
    let onnx = graph(
        (DataType::Double, shape),
        DataType::Double,
        vec![pool],
        vec![],
    );
    let (reason, hint) = refusal(&onnx, "LpNormalization");
    assert!(
        reason.contains("float64") && hint.contains("float32"),
        "{reason}; {hint}"
    );
}

#[test]
fn fused_attention_of_the_quantiser_is_refused_with_the_flag_that_mends_it() {
    let attention = microsoft(node("QAttention", &["x", "x", "x", "x", "x"], &["y"]));
    let onnx = graph(
        (DataType::Float, ROWS),
        DataType::Float,
        vec![attention],
        vec![],
    );
    let (_, hint) = refusal(&onnx, "com.microsoft.QAttention");
    assert!(hint.contains("quant_format=QuantFormat.QDQ"), "{hint}");
}

#[test]
fn quantisation_by_blocks_is_refused() {
    let quantise = with_int(
        node("QuantizeLinear", &["x", "s", "z"], &["whole"]),
        "block_size",
        2,
    );
    let back = node("DequantizeLinear", &["whole", "s", "z"], &["y"]);
    let constants = vec![singles("s", &[1, 1], &[0.5]), bytes("z", &[1, 1], &[0])];
    let onnx = graph(
        (DataType::Float, ROWS),
        DataType::Float,
        vec![quantise, back],
        constants,
    );
    let (reason, _) = refusal(&onnx, "QuantizeLinear");
    assert!(reason.contains("blocks"), "{reason}");
}

#[test]
fn int8_graph_whose_outputs_are_not_by_row_is_refused() {
    let nodes = vec![
        node("DynamicQuantizeLinear", &["x"], &["whole", "scale", "zero"]),
        node("DequantizeLinear", &["whole", "scale", "zero"], &["floats"]),
        node("Transpose", &["floats"], &["y"]),
    ];
    let onnx = graph((DataType::Float, ROWS), DataType::Float, nodes, vec![]);
    let error = Model::load(&onnx, &LoadLimits::default()).unwrap_err();
    assert_eq!(error.code(), "model.invalid_graph");
    assert!(error.to_string().contains("row by row"), "{error}");
}

#[test]
fn what_cannot_be_run_in_its_type_is_found_at_load() {
    // The graph engine plans a dropout that is being trained, and fails when it comes to it.
    let ratio = singles("ratio", &[], &[0.5]);
    let trains = stored("trains", DataType::Bool, &[], &[[1]]);
    let onnx = graph(
        (DataType::Float, ROWS),
        DataType::Float,
        vec![node("Dropout", &["x", "ratio", "trains"], &["y"])],
        vec![ratio, trains],
    );
    let error = Model::load(&onnx, &LoadLimits::default()).unwrap_err();
    assert_eq!(error.code(), "model.refused");
    assert!(error.to_string().contains("Dropout"), "{error}");
}

#[test]
fn recurrent_nets_forget_the_request_before() {
    let cell = with_int(node("LSTM", &["x", "w", "r"], &["", "y"]), "hidden_size", 1);
    let weights = [0.5, -0.4, 0.3, 0.2];
    let constants = vec![
        singles("w", &[1, 4, 2], &[weights, weights].concat()),
        singles("r", &[1, 4, 1], &weights),
    ];
    let shape: &[i64] = &[3, -1, 2];
    let onnx = graph(
        (DataType::Float, shape),
        DataType::Float,
        vec![cell],
        constants,
    );
    let model = load(&onnx);
    let asked = [1.0, -2.0, 0.5, 0.25, -1.0, 3.0];
    let first = ask_single(&model, &[3, 1, 2], &asked);
    assert_eq!(ask_single(&model, &[3, 1, 2], &asked), first);
}

#[test]
fn float16_values_are_found_by_name_however_many_there_are() {
    let count = 15_000;
    let names: Vec<String> = (0..count).map(|at| format!("y{at}")).collect();
    let nodes = names.iter().map(|name| node("Relu", &["x"], &[name]));
    let onnx = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "wide".to_owned(),
            node: nodes.collect(),
            input: vec![value("x", DataType::Float16, ROWS)],
            output: names
                .iter()
                .map(|name| value(name, DataType::Float16, ROWS))
                .collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec();
    // A search of all names for each takes minutes.
    let found = inspect(&onnx, &LoadLimits::default()).unwrap();
    assert_eq!((found.outputs.len(), found.unsupported), (count, vec![]));
}

/// What a node that knows nothing of its input's type but what is inferred makes of float64: `Sigmoid` is run in
/// float64 only where the type is known.
#[track_caller]
fn assert_known_as_double(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, expected: &[f64]) {
    let onnx = graph((DataType::Double, ROWS), DataType::Double, nodes, constants);
    let found = ask_double(&onnx, &[1, 2], &[0.25, -40.0]);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let expected = 1.0 / (1.0 + (-expected).exp());
        assert!(
            (found - expected).abs() <= 1e-15 * expected,
            "{found} is not {expected}"
        );
    }
}

#[test]
fn types_are_known_behind_operators_that_state_them_elsewhere() {
    let sigmoid = |from: &str| node("Sigmoid", &[from], &["y"]);
    let eye = with_int(
        node("EyeLike", &["x"], &["e"]),
        "dtype",
        i64::from(DataType::Double as i32),
    );
    let sum = node("Add", &["x", "e"], &["s"]);
    assert_known_as_double(
        vec![eye, node("Identity", &["e"], &["f"]), sum, sigmoid("s")],
        vec![],
        &[1.25, -40.0],
    );
    let mut encoder = node("LabelEncoder", &["x"], &["l"]);
    "ai.onnx.ml".clone_into(&mut encoder.domain);
    for (name, values) in [
        ("keys_tensor", vec![0.25, -40.0]),
        ("values_tensor", vec![-30.0, 1e-3]),
        ("default_tensor", vec![0.0]),
    ] {
        encoder.attribute.push(AttributeProto {
            name: name.to_owned(),
            r#type: 4,
            t: Some(doubles(name, &[values.len() as i64], &values)),
            ..AttributeProto::default()
        });
    }
    // Something that only the graph engine runs.
    let turned = node("Neg", &["l"], &["n"]);
    assert_known_as_double(vec![encoder, turned, sigmoid("n")], vec![], &[30.0, -1e-3]);
}

#[test]
fn group_normalisation_keeps_its_digits_far_from_zero() {
    let norm = with_int(
        node("GroupNormalization", &["x", "scale", "bias"], &["y"]),
        "num_groups",
        1,
    );
    let constants = vec![
        singles("scale", &[1], &[1.0]),
        singles("bias", &[1], &[0.0]),
    ];
    let onnx = graph(
        (DataType::Float, &[-1, 4, 64]),
        DataType::Float,
        vec![norm],
        constants,
    );
    let values: Vec<f32> = (0..256)
        .map(|at| 30_000.0 + (at % 5) as f32 * 0.25)
        .collect();
    let found = ask_single(&load(&onnx), &[1, 4, 64], &values);
    let wide: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let mean = wide.iter().sum::<f64>() / 256.0;
    let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 256.0;
    for (found, x) in found.iter().zip(wide) {
        let expected = (x - mean) / (variance + 1e-5).sqrt();
        assert!(
            (f64::from(*found) - expected).abs() < 1e-2,
            "{found} is not {expected}"
        );
    }
}
