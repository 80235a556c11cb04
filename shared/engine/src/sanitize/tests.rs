use artifact::manifest::{DataType, Manifest};
use half::f16;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ChangeKind, Sanitized, Sanitizer};
use crate::error::{InputError, LoadError};
use crate::tensor::{Tensor, TensorData};

fn manifest(inputs: Value) -> Manifest {
    serde_json::from_value(json!({
        "format": "sealcast.manifest/v1",
        "name": "test-model",
        "version": "1.0.0",
        "owner": "tests",
        "algo_id": "TEST-0001",
        "inputs": inputs,
        "output": { "kind": "regression", "value": "y" },
        "latency_budget_ms": 50,
        "limits": { "max_rows": 4 }
    }))
    .unwrap()
}

fn sanitizer(inputs: Value) -> Sanitizer {
    Sanitizer::new(&manifest(inputs)).unwrap()
}

fn stats() -> Value {
    json!({ "mean": 10.0, "std": 2.0, "min": 0.0, "max": 20.0, "q1": 8.0, "median": 10.0, "q3": 12.0 })
}

/// One FP32 column `a`, with further fields.
fn one_column(fields: Value) -> Sanitizer {
    sanitizer(one_column_json("FP32", fields))
}

fn one_column_json(datatype: &str, fields: Value) -> Value {
    let mut column = json!({ "name": "a" });
    column
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    json!([{ "name": "x", "datatype": datatype, "shape": [-1, 1], "columns": [column] }])
}

fn floats(values: &[f32]) -> Vec<Tensor> {
    vec![Tensor {
        name: "x".to_owned(),
        shape: vec![values.len(), 1],
        data: TensorData::Fp32(values.to_vec()),
    }]
}

fn tensor(shape: &[usize], data: TensorData) -> Vec<Tensor> {
    vec![Tensor {
        name: "x".to_owned(),
        shape: shape.to_vec(),
        data,
    }]
}

fn run(sanitizer: &Sanitizer, values: &[f32]) -> Result<Sanitized, InputError> {
    sanitizer.sanitize(floats(values))
}

fn read(sanitized: &Sanitized) -> &[f32] {
    match &sanitized.inputs[0].data {
        TensorData::Fp32(values) => values,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_fault(result: Result<Sanitized, InputError>, code: &str, field: &str) {
    let fault = result.expect_err("must be refused");
    assert_eq!(
        (fault.code, fault.field.as_str()),
        (code, field),
        "{}",
        fault.message
    );
}

#[test]
fn clean_values_keep_their_bits() {
    let values = [-0.0_f32, f32::MIN_POSITIVE / 2.0, 1.0e30, 0.1];
    let clean = run(&one_column(json!({})), &values).unwrap();
    assert_eq!((clean.rows, clean.changes.len()), (4, 0));
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(read(&clean)), bits(&values));
}

#[test]
fn unknown_missing_and_duplicate_tensors_are_refused() {
    let sanitizer = one_column(json!({}));
    let mut inputs = floats(&[1.0]);
    inputs[0].name = "z".to_owned();
    assert_fault(sanitizer.sanitize(inputs), "input.unknown", "inputs.z");
    assert_fault(
        sanitizer.sanitize(vec![]),
        "input.missing_tensor",
        "inputs.x",
    );
    let twice = [floats(&[1.0]), floats(&[1.0])].concat();
    assert_fault(sanitizer.sanitize(twice), "input.duplicate", "inputs.x");
}

#[test]
fn tensors_come_out_in_the_manifests_order() {
    let input = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [-1] });
    let sanitizer = sanitizer(json!([input("a"), input("b")]));
    let tensor = |name: &str| Tensor {
        name: name.to_owned(),
        shape: vec![1],
        data: TensorData::Fp32(vec![1.0]),
    };
    let clean = sanitizer.sanitize(vec![tensor("b"), tensor("a")]).unwrap();
    assert_eq!(clean.inputs, vec![tensor("a"), tensor("b")]);
    let mut inputs = vec![tensor("a"), tensor("b")];
    inputs[1].shape = vec![2];
    inputs[1].data = TensorData::Fp32(vec![1.0, 2.0]);
    assert_fault(sanitizer.sanitize(inputs), "input.rows", "inputs.b");
}

#[test]
fn wrong_shapes_counts_and_rows_are_refused() {
    let sanitizer = one_column(json!({}));
    let two = || TensorData::Fp32(vec![1.0, 2.0]);
    assert_fault(
        sanitizer.sanitize(tensor(&[1, 2], two())),
        "input.shape",
        "inputs.x",
    );
    assert_fault(
        sanitizer.sanitize(tensor(&[2], two())),
        "input.shape",
        "inputs.x",
    );
    assert_fault(
        sanitizer.sanitize(tensor(&[3, 1], two())),
        "input.count",
        "inputs.x",
    );
    assert_fault(run(&sanitizer, &[]), "input.rows", "inputs.x");
    assert_fault(run(&sanitizer, &[0.0; 5]), "input.rows", "inputs.x");
    run(&sanitizer, &[0.0; 4]).unwrap();
}

#[test]
fn field_names_row_and_column() {
    let columns = json!([{ "name": "a", "max": 1.0 }, { "name": "b", "max": 1.0 }]);
    let flat = sanitizer(
        json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2], "columns": columns.clone() }]),
    );
    let data = TensorData::Fp32(vec![0.0, 0.0, 0.0, 2.0]);
    assert_fault(
        flat.sanitize(tensor(&[2, 2], data.clone())),
        "input.out_of_range",
        "inputs.x[1].b",
    );
    let steps = sanitizer(
        json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2, 2], "columns": columns }]),
    );
    assert_fault(
        steps.sanitize(tensor(&[1, 2, 2], data)),
        "input.out_of_range",
        "inputs.x[0][1].b",
    );
    let bare = sanitizer(json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }]));
    let data = TensorData::Fp32(vec![0.0, 0.0, f32::NAN, 0.0]);
    assert_fault(
        bare.sanitize(tensor(&[2, 2], data)),
        "input.not_finite",
        "inputs.x[1][0]",
    );
}

#[test]
fn missing_values_are_refused_imputed_or_passed() {
    let reject = one_column(json!({}));
    assert_fault(
        run(&reject, &[1.0, f32::NAN]),
        "input.missing_value",
        "inputs.x[1].a",
    );
    let impute = one_column(json!({ "missing": { "policy": "impute", "value": 2.5 } }));
    let clean = run(&impute, &[1.0, f32::NAN]).unwrap();
    assert_eq!(read(&clean), [1.0, 2.5]);
    let change = &clean.changes[0];
    assert_eq!(
        (clean.changes.len(), change.row, change.column.as_deref()),
        (1, 1, Some("a"))
    );
    assert_eq!(
        (change.kind, change.from, change.to),
        (ChangeKind::Imputed, None, Some(2.5))
    );
    let pass = one_column(json!({ "missing": { "policy": "pass" }, "min": 0.0, "max": 1.0 }));
    let clean = run(&pass, &[f32::NAN, 1.0]).unwrap();
    assert!(read(&clean)[0].is_nan() && clean.changes.is_empty());
}

#[test]
fn infinity_is_refused_even_where_missing_values_pass() {
    for policy in [
        json!({ "policy": "pass" }),
        json!({ "policy": "impute", "value": 0.0 }),
        json!({ "policy": "reject" }),
    ] {
        let sanitizer = one_column(json!({ "missing": policy }));
        assert_fault(
            run(&sanitizer, &[f32::INFINITY]),
            "input.not_finite",
            "inputs.x[0].a",
        );
        assert_fault(
            run(&sanitizer, &[f32::NEG_INFINITY]),
            "input.not_finite",
            "inputs.x[0].a",
        );
    }
}

#[test]
fn hard_range_holds_its_bounds() {
    let sanitizer = one_column(json!({ "min": -1.0, "max": 1.0 }));
    run(&sanitizer, &[-1.0, 1.0]).unwrap();
    assert_fault(
        run(&sanitizer, &[1.000_001]),
        "input.out_of_range",
        "inputs.x[0].a",
    );
    assert_fault(
        run(&sanitizer, &[-1.000_001]),
        "input.out_of_range",
        "inputs.x[0].a",
    );
}

#[test]
fn outliers_are_refused_clipped_or_flagged() {
    let detect = json!({ "method": "z_score", "threshold": 2.0 });
    let policy = |action: &str| {
        one_column(
            json!({ "stats": stats(), "outlier": { "detect": detect.clone(), "action": action } }),
        )
    };
    run(&policy("reject"), &[6.0, 14.0]).unwrap();
    assert_fault(
        run(&policy("reject"), &[14.1]),
        "input.outlier",
        "inputs.x[0].a",
    );
    let clipped = run(&policy("clip"), &[3.0, 10.0, 99.0]).unwrap();
    assert_eq!(read(&clipped), [6.0, 10.0, 14.0]);
    let ends: Vec<_> = clipped
        .changes
        .iter()
        .map(|change| (change.row, change.kind, change.from, change.to))
        .collect();
    let expected = [
        (0, ChangeKind::Clipped, Some(3.0), Some(6.0)),
        (2, ChangeKind::Clipped, Some(99.0), Some(14.0)),
    ];
    assert_eq!(ends, expected);
    let flagged = run(&policy("flag"), &[99.0]).unwrap();
    assert_eq!(
        (read(&flagged)[0], flagged.changes[0].kind),
        (99.0, ChangeKind::Flagged)
    );
}

#[test]
fn tukey_fences_and_bounds_tell_outliers() {
    let iqr = json!({ "detect": { "method": "iqr", "factor": 1.5 }, "action": "clip" });
    let clean = run(
        &one_column(json!({ "stats": stats(), "outlier": iqr })),
        &[-99.0, 99.0],
    )
    .unwrap();
    assert_eq!(read(&clean), [2.0, 18.0]);
    let bounds =
        json!({ "detect": { "method": "bounds", "min": -1.0, "max": 1.0 }, "action": "clip" });
    let clean = run(&one_column(json!({ "outlier": bounds })), &[-99.0, 99.0]).unwrap();
    assert_eq!(read(&clean), [-1.0, 1.0]);
}

#[test]
fn scale_comes_last_and_changes_report_the_requests_unit() {
    let sanitizer = one_column(json!({
        "missing": { "policy": "impute", "value": 25.0 },
        "outlier": { "detect": { "method": "bounds", "min": 0.0, "max": 100.0 }, "action": "clip" },
        "scale": { "from": [0.0, 100.0], "to": [-1.0, 1.0] }
    }));
    let clean = run(&sanitizer, &[0.0, 100.0, f32::NAN, 200.0]).unwrap();
    assert_eq!(read(&clean), [-1.0, 1.0, -0.5, 1.0]);
    assert_eq!(
        clean
            .changes
            .iter()
            .map(|change| change.to)
            .collect::<Vec<_>>(),
        [Some(25.0), Some(100.0)]
    );
}

#[test]
fn scaling_out_of_the_type_is_refused() {
    let sanitizer = one_column(json!({ "scale": { "from": [0.0, 1.0], "to": [0.0, 1e30] } }));
    assert_fault(
        run(&sanitizer, &[1e30]),
        "input.not_finite",
        "inputs.x[0].a",
    );
}

#[test]
fn another_type_is_refused_unless_the_manifest_converts() {
    let strict = one_column(json!({}));
    assert_fault(
        strict.sanitize(tensor(&[1, 1], TensorData::Fp64(vec![1.0]))),
        "input.datatype",
        "inputs.x",
    );
    let mut inputs = one_column_json("FP32", json!({}));
    inputs[0]["convert"] = json!("numeric");
    let numeric = sanitizer(inputs);
    for data in [
        TensorData::Fp64(vec![3.0]),
        TensorData::Int64(vec![3]),
        TensorData::Uint8(vec![3]),
    ] {
        let clean = numeric.sanitize(tensor(&[1, 1], data)).unwrap();
        assert_eq!(
            (read(&clean), clean.changes[0].kind),
            (&[3.0_f32][..], ChangeKind::Converted)
        );
    }
    let data = TensorData::Int64(vec![3, 16_777_217]);
    assert_fault(
        numeric.sanitize(tensor(&[2, 1], data)),
        "input.conversion",
        "inputs.x[1].a",
    );
    assert_fault(
        numeric.sanitize(tensor(&[1, 1], TensorData::Fp64(vec![1e300]))),
        "input.conversion",
        "inputs.x[0].a",
    );
    assert_fault(
        numeric.sanitize(tensor(&[1, 1], TensorData::Bool(vec![true]))),
        "input.datatype",
        "inputs.x",
    );
    assert_fault(
        numeric.sanitize(tensor(&[1, 1], TensorData::Bytes(vec![vec![]]))),
        "input.datatype",
        "inputs.x",
    );
}

#[test]
fn floats_become_integers_only_where_they_are_exact() {
    let mut inputs = one_column_json("INT32", json!({}));
    inputs[0]["convert"] = json!("numeric");
    let sanitizer = sanitizer(inputs);
    let clean = sanitizer
        .sanitize(tensor(&[1, 1], TensorData::Fp32(vec![-3.0])))
        .unwrap();
    assert_eq!(clean.inputs[0].data, TensorData::Int32(vec![-3]));
    for value in [0.5, 3e9, f32::NAN, f32::INFINITY] {
        let data = TensorData::Fp32(vec![value]);
        assert_fault(
            sanitizer.sanitize(tensor(&[1, 1], data)),
            "input.conversion",
            "inputs.x[0].a",
        );
    }
}

#[test]
fn clipping_rounds_into_the_bounds_of_every_type() {
    let outlier =
        json!({ "detect": { "method": "bounds", "min": -0.1, "max": 0.1 }, "action": "clip" });
    let fields = json!({ "outlier": outlier });
    let clip = |datatype: &str, data: TensorData| {
        sanitizer(one_column_json(datatype, fields.clone()))
            .sanitize(tensor(&[2, 1], data))
            .unwrap()
            .inputs
            .remove(0)
            .data
    };
    let TensorData::Fp16(values) = clip(
        "FP16",
        TensorData::Fp16(vec![f16::from_f32(-9.0), f16::from_f32(9.0)]),
    ) else {
        panic!("not FP16")
    };
    assert!(
        f64::from(values[0]) >= -0.1 && f64::from(values[1]) <= 0.1,
        "{values:?}"
    );
    assert_eq!(
        clip("INT8", TensorData::Int8(vec![-9, 9])),
        TensorData::Int8(vec![0, 0])
    );
}

#[track_caller]
fn assert_contradiction(inputs: Value, field: &str) {
    match Sanitizer::new(&manifest(inputs)).expect_err("must be refused") {
        LoadError::ManifestMismatch { field: found, .. } => assert_eq!(found, field),
        other => panic!("{other}"),
    }
}

#[test]
fn contradictions_of_the_manifest_are_found_at_load() {
    let fp32 = |fields: Value| one_column_json("FP32", fields);
    let z_score = json!({ "detect": { "method": "z_score", "threshold": 2.0 }, "action": "clip" });
    let bounds = |min: f64, max: f64| json!({ "detect": { "method": "bounds", "min": min, "max": max }, "action": "clip" });
    let column = "inputs.x.columns.a";
    assert_contradiction(fp32(json!({ "min": 2.0, "max": 1.0 })), column);
    assert_contradiction(fp32(json!({ "outlier": z_score })), column);
    assert_contradiction(fp32(json!({ "outlier": bounds(1.0, -1.0) })), column);
    assert_contradiction(
        fp32(json!({ "max": 0.0, "outlier": bounds(1.0, 2.0) })),
        column,
    );
    assert_contradiction(
        fp32(json!({ "max": 0.0, "missing": { "policy": "impute", "value": 1.0 } })),
        column,
    );
    assert_contradiction(
        fp32(json!({ "scale": { "from": [1.0, 1.0], "to": [0.0, 1.0] } })),
        column,
    );
    assert_contradiction(
        one_column_json("INT8", json!({ "outlier": bounds(0.1, 0.9) })),
        column,
    );
    assert_contradiction(one_column_json("BYTES", json!({ "min": 0.0 })), column);
    assert_contradiction(
        json!([{ "name": "x", "datatype": "FP32", "shape": [1, 1] }]),
        "inputs.x.shape",
    );
    let columns = json!([{ "name": "a" }]);
    assert_contradiction(
        json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2], "columns": columns }]),
        "inputs.x.columns",
    );
}

#[test]
fn typical_row_is_clean() {
    let sanitizer = one_column(json!({ "min": 5.0, "max": 9.0, "stats": stats() }));
    let row = sanitizer.typical_row();
    assert_eq!(row[0].data.datatype(), DataType::Fp32);
    assert_eq!(sanitizer.sanitize(row).unwrap().changes, vec![]);
}

fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>(),
        -50.0_f32..50.0,
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(-0.0)
    ]
}

proptest! {
    #[test]
    fn clipped_values_lie_within_the_bounds_and_stay(low in -1e3_f64..1e3, width in 1e-3_f64..1e3, value in any_value()) {
        let high = low + width;
        let outlier = json!({ "detect": { "method": "bounds", "min": low, "max": high }, "action": "clip" });
        let middle = f64::midpoint(low, high);
        let sanitizer = one_column(json!({ "outlier": outlier, "missing": { "policy": "impute", "value": middle } }));
        match run(&sanitizer, &[value]) {
            Ok(clean) => {
                let result = f64::from(read(&clean)[0]);
                prop_assert!(low <= result && result <= high, "{result}");
                let again = sanitizer.sanitize(clean.inputs.clone()).unwrap();
                prop_assert_eq!(&again.inputs, &clean.inputs);
                prop_assert!(again.changes.is_empty());
            }
            Err(fault) => prop_assert!(value.is_infinite() && fault.code == "input.not_finite"),
        }
    }

    #[test]
    fn nothing_but_a_passed_missing_value_is_not_finite(
        values in prop::collection::vec(any_value(), 1..5),
        policy in 0..3_usize,
        action in prop::sample::select(vec!["clip", "flag", "reject"]),
        scaled in any::<bool>(),
    ) {
        let missing = [json!({ "policy": "reject" }), json!({ "policy": "impute", "value": 1.0 }), json!({ "policy": "pass" })];
        let mut fields = json!({
            "missing": missing[policy],
            "stats": stats(),
            "outlier": { "detect": { "method": "iqr", "factor": 3.0 }, "action": action },
        });
        if scaled {
            fields["scale"] = json!({ "from": [0.0, 1.0], "to": [0.0, 1e10] });
        }
        if let Ok(clean) = run(&one_column(fields), &values) {
            for (value, result) in values.iter().zip(read(&clean)) {
                prop_assert!(result.is_finite() || (policy == 2 && value.is_nan()), "{value} became {result}");
            }
            let missing = values.iter().filter(|value| value.is_nan()).count();
            let imputed = clean.changes.iter().filter(|change| change.from.is_none()).count();
            prop_assert_eq!(imputed, if policy == 1 { missing } else { 0 });
        }
    }
}
