//! `TopK`: the first values of an order that holds for NaN too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "onnx/node.rs"]
mod node;
#[path = "onnx/value.rs"]
mod value;

use engine::{LoadError, LoadLimits, Model, Tensor, TensorData};
use node::{node, with_int};
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto};
use value::value;

/// The first `k` along an axis of `x` `[batch, 3, 40]`: values and where they stood.
fn load(k: &[i64], axis: i64, largest: i64) -> Result<Model, LoadError> {
    let chosen = with_int(node("TopK", &["x", "k"], &["y", "at"]), "axis", axis);
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "order".to_owned(),
            node: vec![with_int(chosen, "largest", largest)],
            input: vec![value("x", DataType::Float, &[-1, 3, 40])],
            output: vec![
                value("y", DataType::Float, &[]),
                value("at", DataType::Int64, &[]),
            ],
            initializer: vec![TensorProto {
                name: "k".to_owned(),
                data_type: DataType::Int64 as i32,
                dims: vec![k.len() as i64],
                int64_data: k.to_vec(),
                ..TensorProto::default()
            }],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Model::load(&model.encode_to_vec(), &LoadLimits::default())
}

fn ask(model: &Model, values: &[f32]) -> (Vec<f32>, Vec<i64>) {
    let x = Tensor {
        name: "x".to_owned(),
        shape: vec![values.len() / 120, 3, 40],
        data: TensorData::Fp32(values.to_vec()),
    };
    let made = model.run(&[x]).unwrap();
    match (&made[0].data, &made[1].data) {
        (TensorData::Fp32(values), TensorData::Int64(places)) => (values.clone(), places.clone()),
        other => panic!("{other:?}"),
    }
}

/// Numbers that are often equal, and often none.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => (-4..4_i8).prop_map(f32::from),
        1 => Just(f32::NAN),
        1 => any::<f32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn first_values_are_those_of_a_stable_sort_with_nan_above_all(
        values in prop::collection::vec(number(), 240), k in 0..=40_usize, largest in 0..2_i64,
    ) {
        let (found, places) = ask(&load(&[k as i64], 2, largest).unwrap(), &values);
        for (row, values) in values.chunks_exact(40).enumerate() {
            let mut order: Vec<usize> = (0..40).collect();
            // NaN above infinity; the zeros equal.
            let key = |at: &usize| (values[*at].is_nan(), values[*at] + 0.0);
            order.sort_by(|a, b| {
                let ((a_nan, a), (b_nan, b)) = (key(a), key(b));
                let order = a_nan.cmp(&b_nan).then(if a_nan { a_nan.cmp(&b_nan) } else { a.total_cmp(&b) });
                if largest == 1 { order.reverse() } else { order }
            });
            for (at, expected) in order.iter().take(k).enumerate() {
                prop_assert_eq!(places[row * k + at], *expected as i64);
                prop_assert_eq!(found[row * k + at].to_bits(), values[*expected].to_bits());
            }
        }
    }
}

#[test]
fn an_axis_in_the_middle_is_ordered_column_by_column() {
    let values: Vec<f32> = (0..120).map(|at| ((at * 7) % 11) as f32).collect();
    let (found, places) = ask(&load(&[1], 1, 1).unwrap(), &values);
    for column in 0..40 {
        let along = [0, 1, 2].map(|row| values[row * 40 + column]);
        let most = along.iter().copied().fold(f32::MIN, f32::max);
        let first = along
            .iter()
            .position(|value| value.to_bits() == most.to_bits());
        assert_eq!(
            (found[column].to_bits(), places[column]),
            (most.to_bits(), first.unwrap() as i64)
        );
    }
}

#[test]
fn more_values_than_there_are_and_fewer_than_none_are_refused() {
    for (k, reason) in [
        (&[41][..], "the first 41 of 40 values are asked for"),
        (&[-1], "k is -1; 0 or more is allowed"),
        (&[1, 2], "2 values of k"),
    ] {
        let error = load(k, 2, 1).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
