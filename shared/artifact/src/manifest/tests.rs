use serde_json::{Value, json};

use super::*;

const SPX: &[u8] = include_bytes!("../../../../examples/spx-direction/manifest.json");
const SPX_MLP: &[u8] = include_bytes!("../../../../examples/spx-direction/manifest-mlp.json");

fn classification() -> Value {
    json!({
        "format": "sealcast.manifest/v1",
        "name": "m",
        "version": "1.0.0",
        "owner": "team",
        "algo_id": "A-1",
        "inputs": [{
            "name": "x",
            "datatype": "FP32",
            "shape": [-1, 2],
            "columns": [
                {
                    "name": "a",
                    "min": -1.0,
                    "max": 1.0,
                    "missing": {"policy": "impute", "value": 0.0},
                    "outlier": {"detect": {"method": "z_score", "threshold": 3.0}, "action": "clip"},
                    "scale": {"from": [-1.0, 1.0], "to": [0.0, 1.0]},
                    "stats": {
                        "mean": 0.0, "std": 0.1, "min": -1.0, "max": 1.0,
                        "q1": -0.1, "median": 0.0, "q3": 0.1
                    }
                },
                {"name": "b", "missing": {"policy": "pass"}}
            ]
        }],
        "output": {
            "kind": "classification",
            "labels": ["down", "up"],
            "label": "label",
            "probabilities": "probabilities"
        },
        "latency_budget_ms": 50,
        "limits": {"symbols": ["SPX"]},
        "fallback": {
            "last_good_max_age_s": 60,
            "neutral": {"label": "down", "probabilities": [0.5, 0.5]}
        },
        "personal_data": ["b"]
    })
}

fn regression() -> Value {
    let mut manifest = classification();
    manifest["output"] = json!({"kind": "regression", "value": "y", "min": 0.0, "max": 10.0});
    manifest["fallback"] = json!({"neutral": {"value": 5.0}});
    manifest
}

fn read(manifest: &Value) -> Result<Manifest, ManifestError> {
    Manifest::from_json(&serde_json::to_vec(manifest).unwrap())
}

/// Paths of the faults after `value` was put at the JSON pointer `at`.
fn faults_of(mut manifest: Value, at: &str, value: Value) -> Vec<String> {
    *manifest
        .pointer_mut(at)
        .unwrap_or_else(|| panic!("{at} stands in the sample")) = value;
    match read(&manifest) {
        Ok(_) => Vec::new(),
        Err(ManifestError::Invalid(faults)) => faults.into_iter().map(|fault| fault.path).collect(),
        Err(other) => panic!("{at}: {other}"),
    }
}

fn number(value: f64) -> Value {
    json!(value)
}

#[test]
fn the_example_manifests_are_valid() {
    for bytes in [SPX, SPX_MLP] {
        let manifest = Manifest::from_json(bytes).unwrap();
        assert_eq!(manifest.inputs[0].columns.len(), 14);
    }
}

#[test]
fn the_samples_are_valid() {
    read(&classification()).unwrap();
    read(&regression()).unwrap();
}

#[test]
fn the_canonical_form_is_read_back_and_is_stable() {
    for bytes in [SPX, SPX_MLP] {
        let manifest = Manifest::from_json(bytes).unwrap();
        let canonical = manifest.to_canonical_json().unwrap();
        assert_eq!(Manifest::from_json(&canonical).unwrap(), manifest);
        assert_eq!(manifest.to_canonical_json().unwrap(), canonical);
        assert!(canonical.starts_with(br#"{"algo_id":"EXAMPLE-SPX-0001","description":"#));
    }
}

#[test]
fn an_unknown_format_has_its_own_error_whatever_its_fields() {
    let found = "sealcast.manifest/v2".to_owned();
    let error =
        Manifest::from_json(br#"{"new": [], "format": "sealcast.manifest/v2"}"#).unwrap_err();
    assert_eq!(error, ManifestError::UnknownFormat { found });
    assert_eq!(error.code(), "artifact.manifest_format_unknown");
}

#[test]
fn an_error_of_form_names_the_field() {
    for (at, value, path, reason) in [
        (
            "/inputs/0/datatype",
            json!("FP8"),
            "inputs[0].datatype",
            "unknown variant `FP8`",
        ),
        (
            "/inputs/0/columns/1/name",
            json!(7),
            "inputs[0].columns[1].name",
            "expected a string",
        ),
        (
            "/inputs/0/columns/0/min",
            json!("low"),
            "inputs[0].columns[0].min",
            "expected f64",
        ),
        ("/version", json!("1"), "version", "semantic version"),
        (
            "/limits",
            json!({"symbol": []}),
            "limits.symbol",
            "unknown field `symbol`",
        ),
        (
            "/limits/symbols/0",
            json!("a b"),
            "limits.symbols[0]",
            "symbol",
        ),
        (
            "/fallback/neutral",
            json!({"label": "up"}),
            "fallback.neutral",
            "{label, probabilities} or {value}",
        ),
        (
            "/output",
            json!({"kind": "ranking"}),
            "output.kind",
            "unknown variant `ranking`",
        ),
        (
            "/inputs/0/columns/0/missing/policy",
            json!("drop"),
            "inputs[0].columns[0].missing.policy",
            "unknown variant `drop`",
        ),
    ] {
        let mut manifest = classification();
        *manifest.pointer_mut(at).unwrap() = value;
        let error = read(&manifest).unwrap_err();
        assert_eq!(error.code(), "artifact.manifest_malformed");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("manifest: {path}: ")),
            "{at}: {text}"
        );
        assert!(text.contains(reason), "{at}: {text}");
    }
}

#[test]
fn a_missing_or_repeated_field_is_an_error() {
    let mut manifest = classification();
    manifest.as_object_mut().unwrap().remove("owner");
    assert!(
        read(&manifest)
            .unwrap_err()
            .to_string()
            .contains("missing field `owner`")
    );
    let text = serde_json::to_string(&classification()).unwrap();
    let twice = text.replacen('{', r#"{"owner":"other","#, 1);
    let error = Manifest::from_json(twice.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("duplicate field `owner`"),
        "{error}"
    );
}

#[test]
fn a_manifest_over_1_mib_or_with_bytes_after_it_is_refused() {
    let mut bytes = SPX.to_vec();
    bytes.resize(MAX_MANIFEST_SIZE, b' ');
    Manifest::from_json(&bytes).unwrap();
    bytes.push(b' ');
    let error = Manifest::from_json(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "manifest: 1048577 bytes: expected at most 1048576"
    );
    assert!(Manifest::from_json(&[SPX, b"{}"].concat()).is_err());
}

#[test]
fn each_fault_is_found_at_its_field() {
    let column = "inputs[0].columns[0]";
    let long = "a".repeat(257);
    let cases: Vec<(&str, Value, Vec<String>)> = vec![
        ("/owner", json!(" "), vec!["owner".into()]),
        ("/owner", json!(long), vec!["owner".into()]),
        ("/algo_id", json!(""), vec!["algo_id".into()]),
        ("/algo_id", json!("a\nb"), vec!["algo_id".into()]),
        (
            "/inputs",
            json!([]),
            vec!["inputs".into(), "personal_data[0]".into()],
        ),
        ("/inputs/0/name", json!(""), vec!["inputs[0].name".into()]),
        ("/inputs/0/shape", json!([]), vec!["inputs[0].shape".into()]),
        (
            "/inputs/0/shape/0",
            json!(3),
            vec!["inputs[0].shape[0]".into()],
        ),
        (
            "/inputs/0/shape/1",
            json!(-1),
            vec!["inputs[0].shape[1]".into()],
        ),
        (
            "/inputs/0/shape/1",
            json!(0),
            vec!["inputs[0].shape[1]".into()],
        ),
        (
            "/inputs/0/shape/1",
            json!(3),
            vec!["inputs[0].columns".into()],
        ),
        (
            "/inputs/0/shape",
            json!([-1]),
            vec!["inputs[0].columns".into()],
        ),
        (
            "/inputs/0/shape",
            json!([-1, 1_048_577, 2]),
            vec!["inputs[0].shape".into()],
        ),
        (
            "/inputs/0/shape",
            json!([-1, i64::MAX, i64::MAX, 2]),
            vec!["inputs[0].shape".into()],
        ),
        (
            "/inputs/0/columns/1/name",
            json!("a"),
            vec![
                "inputs[0].columns[1].name".into(),
                "personal_data[0]".into(),
            ],
        ),
        (
            "/inputs/0/columns/0/min",
            json!(2.0),
            vec![format!("{column}.min"), format!("{column}.missing.value")],
        ),
        (
            "/inputs/0/columns/0/missing/value",
            json!(1.5),
            vec![format!("{column}.missing.value")],
        ),
        (
            "/inputs/0/columns/0/missing/value",
            json!(-1.5),
            vec![format!("{column}.missing.value")],
        ),
        (
            "/inputs/0/columns/0/outlier/detect/threshold",
            json!(0),
            vec![format!("{column}.outlier.detect.threshold")],
        ),
        (
            "/inputs/0/columns/0/outlier/detect",
            json!({"method": "iqr", "factor": -1.5}),
            vec![format!("{column}.outlier.detect.factor")],
        ),
        (
            "/inputs/0/columns/0/outlier/detect",
            json!({"method": "bounds", "min": 1, "max": 0}),
            vec![format!("{column}.outlier.detect.min")],
        ),
        (
            "/inputs/0/columns/0/stats",
            Value::Null,
            vec![format!("{column}.stats")],
        ),
        (
            "/inputs/0/columns/0/stats/std",
            json!(0),
            vec![format!("{column}.stats.std")],
        ),
        (
            "/inputs/0/columns/0/stats/median",
            json!(0.2),
            vec![format!("{column}.stats")],
        ),
        (
            "/inputs/0/columns/0/scale/from",
            json!([1.0, 1.0]),
            vec![format!("{column}.scale.from")],
        ),
        (
            "/inputs/0/columns/0/scale/from",
            json!([0.0, -0.0]),
            vec![format!("{column}.scale.from")],
        ),
        (
            "/output/labels",
            json!(["down"]),
            vec![
                "output.labels".into(),
                "fallback.neutral.probabilities".into(),
            ],
        ),
        (
            "/output/labels",
            json!(["down", "down"]),
            vec!["output.labels[1]".into()],
        ),
        (
            "/output/labels",
            json!(["down", " "]),
            vec!["output.labels[1]".into()],
        ),
        (
            "/output/label",
            json!("probabilities"),
            vec!["output.label".into()],
        ),
        (
            "/output/probabilities",
            json!(""),
            vec!["output.probabilities".into()],
        ),
        (
            "/latency_budget_ms",
            json!(0),
            vec!["latency_budget_ms".into()],
        ),
        (
            "/latency_budget_ms",
            json!(60_001),
            vec!["latency_budget_ms".into()],
        ),
        ("/limits/symbols", json!([]), vec!["limits.symbols".into()]),
        (
            "/limits/symbols",
            json!(["SPX", "SPX"]),
            vec!["limits.symbols[1]".into()],
        ),
        (
            "/limits",
            json!({"max_rows": 0}),
            vec!["limits.max_rows".into()],
        ),
        (
            "/limits",
            json!({"max_rows": 65_537}),
            vec!["limits.max_rows".into()],
        ),
        (
            "/fallback/last_good_max_age_s",
            json!(0),
            vec!["fallback.last_good_max_age_s".into()],
        ),
        (
            "/fallback/neutral/label",
            json!("hold"),
            vec!["fallback.neutral.label".into()],
        ),
        (
            "/fallback/neutral/probabilities",
            json!([1.0]),
            vec!["fallback.neutral.probabilities".into()],
        ),
        (
            "/fallback/neutral/probabilities",
            json!([0.5, 0.4]),
            vec!["fallback.neutral.probabilities".into()],
        ),
        (
            "/fallback/neutral/probabilities",
            json!([1.5, -0.5]),
            vec![
                "fallback.neutral.probabilities[0]".into(),
                "fallback.neutral.probabilities[1]".into(),
            ],
        ),
        (
            "/fallback/neutral",
            json!({"value": 1.0}),
            vec!["fallback.neutral".into()],
        ),
        (
            "/personal_data",
            json!(["c"]),
            vec!["personal_data[0]".into()],
        ),
        (
            "/personal_data",
            json!(["b", "b"]),
            vec!["personal_data[1]".into()],
        ),
    ];
    for (at, value, expected) in cases {
        assert_eq!(
            faults_of(classification(), at, value.clone()),
            expected,
            "{at} = {value}"
        );
    }
}

#[test]
fn the_ends_of_every_range_are_accepted() {
    for (at, value) in [
        ("/latency_budget_ms", json!(1)),
        ("/latency_budget_ms", json!(60_000)),
        ("/limits", json!({"max_rows": 65_536})),
        (
            "/inputs/0/columns",
            json!([{"name": "b"}, {"name": "c", "min": 1.0, "max": 1.0}]),
        ),
        ("/inputs/0/columns/0/missing/value", json!(1.0)),
        ("/fallback/neutral/probabilities", json!([0.5, 0.5009])),
        ("/fallback/neutral/probabilities", json!([0.0, 1.0])),
    ] {
        assert_eq!(
            faults_of(classification(), at, value.clone()),
            [""; 0],
            "{at} = {value}"
        );
    }
}

#[test]
fn the_sum_tolerance_is_above_0_and_at_most_a_tenth() {
    for (tolerance, valid) in [
        (0.0, false),
        (-0.1, false),
        (1e-9, true),
        (0.1, true),
        (0.11, false),
    ] {
        let mut manifest = classification();
        manifest["output"]["sum_tolerance"] = number(tolerance);
        assert_eq!(read(&manifest).is_ok(), valid, "{tolerance}");
    }
}

#[test]
fn a_tensor_of_one_dimension_has_one_column_or_none() {
    for (columns, valid) in [
        (json!([]), true),
        (json!([{"name": "b"}]), true),
        (json!([{"name": "a"}, {"name": "b"}]), false),
    ] {
        let mut manifest = classification();
        manifest["inputs"][0]["shape"] = json!([-1]);
        manifest["inputs"][0]["columns"] = columns;
        manifest["personal_data"] = json!([]);
        assert_eq!(read(&manifest).is_ok(), valid, "{manifest}");
    }
}

#[test]
fn column_and_tensor_names_are_unique_in_the_whole_model() {
    let mut manifest = classification();
    let tensor = manifest["inputs"][0].clone();
    manifest["inputs"].as_array_mut().unwrap().push(tensor);
    let Err(ManifestError::Invalid(faults)) = read(&manifest) else {
        panic!("two tensors of one name")
    };
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "inputs[1].name",
            "inputs[1].columns[0].name",
            "inputs[1].columns[1].name"
        ]
    );
}

#[test]
fn only_a_float_column_may_pass_a_missing_value_or_be_scaled() {
    for datatype in ["FP16", "FP32", "FP64"] {
        assert_eq!(
            faults_of(classification(), "/inputs/0/datatype", json!(datatype)),
            [""; 0]
        );
    }
    assert_eq!(
        faults_of(classification(), "/inputs/0/datatype", json!("INT64")),
        [
            "inputs[0].columns[0].scale",
            "inputs[0].columns[1].missing.policy"
        ]
    );
}

#[test]
fn a_scale_whose_slope_is_not_finite_is_a_fault() {
    let scale = json!({"from": [0.0, 1e-308], "to": [0.0, 1e308]});
    assert_eq!(
        faults_of(classification(), "/inputs/0/columns/0/scale", scale),
        ["inputs[0].columns[0].scale.from"]
    );
}

#[test]
fn clipping_stays_inside_the_hard_range() {
    for (detect, valid) in [
        (json!({"method": "bounds", "min": 2.0, "max": 3.0}), false),
        (json!({"method": "bounds", "min": -3.0, "max": -2.0}), false),
        (json!({"method": "bounds", "min": 0.5, "max": 3.0}), true),
    ] {
        for action in ["clip", "flag"] {
            let outlier = json!({"detect": detect, "action": action});
            let found = faults_of(classification(), "/inputs/0/columns/0/outlier", outlier);
            let expected: &[&str] = if valid || action == "flag" {
                &[]
            } else {
                &["inputs[0].columns[0].outlier.action"]
            };
            assert_eq!(found, expected, "{detect} {action}");
        }
    }
}

#[test]
fn an_imputed_value_fits_the_element_type() {
    for (datatype, value, valid) in [
        ("INT8", -128.0, true),
        ("INT8", 128.0, false),
        ("INT64", 0.5, false),
        ("INT64", 9_223_372_036_854_775_808.0, false),
        ("UINT8", -1.0, false),
        ("UINT64", 255.0, true),
        ("BOOL", 1.0, true),
        ("BOOL", 2.0, false),
        ("FP16", 65_504.0, true),
        ("FP16", 65_505.0, false),
        ("FP32", 1e39, false),
        ("FP64", 1e39, true),
        ("BYTES", 0.0, false),
    ] {
        let mut manifest = classification();
        let input = &mut manifest["inputs"][0];
        input["datatype"] = json!(datatype);
        input["columns"] =
            json!([{"name": "a", "missing": {"policy": "impute", "value": value}}, {"name": "b"}]);
        assert_eq!(read(&manifest).is_ok(), valid, "{datatype} {value}");
    }
}

#[test]
fn columns_without_numbers_have_no_numeric_rules() {
    let rules = json!({
        "name": "a", "min": 0.0, "max": 1.0,
        "outlier": {"detect": {"method": "bounds", "min": 0.0, "max": 1.0}, "action": "flag"},
        "scale": {"from": [0, 1], "to": [0, 1]}
    });
    for datatype in ["BOOL", "BYTES"] {
        let mut manifest = classification();
        manifest["inputs"][0]["datatype"] = json!(datatype);
        manifest["inputs"][0]["columns"] = json!([{"name": "a"}, {"name": "b"}]);
        assert_eq!(
            faults_of(manifest, "/inputs/0/columns/0", rules.clone()),
            ["min", "max", "outlier", "scale"].map(|rule| format!("inputs[0].columns[0].{rule}"))
        );
    }
}

#[test]
fn iqr_needs_quartiles_that_differ() {
    let iqr = json!({"method": "iqr", "factor": 1.5});
    assert_eq!(
        faults_of(
            classification(),
            "/inputs/0/columns/0/outlier/detect",
            iqr.clone()
        ),
        [""; 0]
    );
    let mut manifest = classification();
    manifest["inputs"][0]["columns"][0]["outlier"]["detect"] = iqr;
    let flat = json!({"mean": 0.0, "std": 0.0, "min": 0.0, "max": 0.0, "q1": 0.0, "median": 0.0, "q3": 0.0});
    assert_eq!(
        faults_of(manifest, "/inputs/0/columns/0/stats", flat),
        ["inputs[0].columns[0].stats.q3"]
    );
}

#[test]
fn a_regression_has_an_ordered_range_and_a_neutral_value_inside_it() {
    for (at, value, expected) in [
        ("/output/value", json!(""), vec!["output.value"]),
        (
            "/output/min",
            json!(11.0),
            vec!["output.min", "fallback.neutral.value"],
        ),
        (
            "/fallback/neutral/value",
            json!(10.5),
            vec!["fallback.neutral.value"],
        ),
        (
            "/fallback/neutral",
            json!({"label": "a", "probabilities": [1.0]}),
            vec!["fallback.neutral"],
        ),
        ("/fallback/neutral/value", json!(10.0), vec![]),
    ] {
        assert_eq!(
            faults_of(regression(), at, value.clone()),
            expected,
            "{at} = {value}"
        );
    }
}

#[test]
fn numbers_that_json_cannot_hold_are_faults_too() {
    for not_finite in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut manifest = read(&classification()).unwrap();
        let column = &mut manifest.inputs[0].columns[0];
        column.min = Some(not_finite);
        column.missing = Missing::Impute { value: not_finite };
        column.scale = Some(Scale {
            from: [not_finite, 0.0],
            to: [0.0, not_finite],
        });
        column.stats.as_mut().unwrap().mean = not_finite;
        let faults = manifest.validate().unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let expected = [
            "min",
            "missing.value",
            "scale.from[0]",
            "scale.to[1]",
            "stats.mean",
        ];
        assert_eq!(
            paths,
            expected.map(|field| format!("inputs[0].columns[0].{field}"))
        );
        assert!(manifest.to_canonical_json().is_err());
    }
}

#[test]
fn all_faults_are_reported_together() {
    let mut manifest = classification();
    manifest["owner"] = json!("");
    manifest["latency_budget_ms"] = json!(0);
    manifest["inputs"][0]["shape"][0] = json!(1);
    let error = read(&manifest).unwrap_err();
    assert_eq!(
        error.to_string(),
        "manifest: owner: expected 1 to 256 bytes of text, not blank, without control characters, found \"\"; \
         inputs[0].shape[0]: expected -1, the batch, found 1; \
         latency_budget_ms: expected 1 to 60000 milliseconds, found 0"
    );
}

#[test]
fn the_size_of_the_model_is_stated_exactly() {
    let mut manifest = classification();
    let sha256 = Sha256Digest::of(b"").to_string();
    for (size, valid) in [
        (0, false),
        (1, true),
        ((1 << 53) - 1, true),
        (1_u64 << 53, false),
    ] {
        manifest["model"] = json!({"sha256": sha256, "size": size});
        assert_eq!(read(&manifest).is_ok(), valid, "{size}");
    }
}

#[test]
fn a_manifest_says_when_predictions_are_explained_and_against_what() {
    let mut manifest = classification();
    assert_eq!(read(&manifest).unwrap().explain, None);
    manifest["explain"] = json!({});
    assert_eq!(read(&manifest).unwrap().explain, Some(Explain::default()));
    manifest["explain"] = json!({
        "when": "always", "background": {"rows": 600, "summary": "AQEC"}
    });
    let explain = read(&manifest).unwrap().explain.unwrap();
    assert_eq!(explain.when, ExplainWhen::Always);
    let background = explain.background.unwrap();
    assert_eq!(
        (background.rows, background.summary.bytes()),
        (600, &[1, 1, 2][..])
    );
}

#[test]
fn predictions_cannot_always_be_explained_against_nothing() {
    let mut manifest = classification();
    manifest["explain"] = json!({"when": "on_request"});
    assert_eq!(
        faults_of(manifest.clone(), "/explain/when", json!("always")),
        ["explain.background"]
    );
    manifest["explain"] = json!({"background": {"rows": 1, "summary": "AQ=="}});
    let rows = "/explain/background/rows";
    assert_eq!(
        faults_of(manifest.clone(), rows, json!(0)),
        ["explain.background.rows"]
    );
    // Of a few rows the counts and means may say what single ones held.
    manifest["personal_data"] = json!([manifest["inputs"][0]["columns"][0]["name"]]);
    assert_eq!(
        faults_of(manifest.clone(), rows, json!(99)),
        ["explain.background.rows"]
    );
    manifest["explain"]["background"]["rows"] = json!(100);
    assert!(read(&manifest).is_ok());
    manifest["explain"]["background"]["summary"] = json!("A");
    let error = read(&manifest).unwrap_err();
    assert_eq!(error.code(), "artifact.manifest_malformed");
    assert!(
        error.to_string().contains("explain.background.summary"),
        "{error}"
    );
}

#[test]
fn a_manifest_without_explanations_keeps_its_canonical_bytes() {
    // It was sealed and signed before manifests spoke of explanations.
    let sealed = include_bytes!("../../tests/vectors/artifact/manifest.json");
    let manifest = Manifest::from_json(sealed).unwrap();
    assert_eq!(manifest.explain, None);
    assert_eq!(manifest.to_canonical_json().unwrap(), sealed);
}
