//! Explanations: in both protocols, in the record, and why there is none.

use std::path::Path;

use artifact::Manifest;
use artifact::manifest::{Background, Explain, ExplainWhen, Summary};
use audit::event::{RecordedExplanation, RecordedTensor};
use domain::ReleaseRole;
use engine::{Explainer, LoadLimits, Tensor, TensorData};
use serde_json::{Value, json};

use crate::support::{
    Member, Ports, Served, column_names, example_members, features, serve, serve_example, v1, v2,
};

const INFER: &str = "/v2/models/spx-direction/infer";

/// Gives a model the background of these rows of its one input.
pub(crate) fn explained(mut member: Member, when: ExplainWhen, rows: &[Vec<f32>]) -> Member {
    let background = Tensor {
        name: member.manifest.inputs[0].name.clone(),
        shape: vec![rows.len(), rows[0].len()],
        data: TensorData::Fp32(rows.concat()),
    };
    let explainer = Explainer::new(&member.onnx, &background, &LoadLimits::default()).unwrap();
    member.manifest.explain = Some(Explain {
        when,
        background: Some(Background {
            rows: explainer.background_rows(),
            summary: Summary::new(explainer.background()),
        }),
    });
    member
}

/// Rows of the example, from the first.
pub(crate) fn example_rows(count: usize) -> Vec<Vec<f32>> {
    let names = column_names();
    let value = |row: &Value, name: &String| row[name].as_f64().unwrap() as f32;
    (0..count)
        .map(|at| {
            let row = features(at);
            names.iter().map(|name| value(&row, name)).collect()
        })
        .collect()
}

async fn serve_explained(when: ExplainWhen) -> Served {
    let mut members = example_members();
    let live = explained(members.remove(0), when, &example_rows(60));
    members.insert(0, live);
    serve(members, |_| Ports::default()).await
}

/// A regression by one of the small models, with the columns `a`, `b` … (or `x`, where it has one).
fn small(file: &str, width: usize, change: impl FnOnce(&mut Value)) -> Member {
    let name = |at: usize| {
        if width == 1 {
            "x".to_owned()
        } else {
            format!("c{at}")
        }
    };
    let columns: Vec<Value> = (0..width).map(|at| json!({"name": name(at)})).collect();
    let mut manifest = json!({
        "format": "sealcast.manifest/v1", "name": file, "version": "1.0.0", "owner": "tests", "algo_id": "T-1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, width], "columns": columns}],
        "output": {"kind": "regression", "value": "value", "min": -100.0, "max": 100.0},
        "latency_budget_ms": 30_000, "limits": {"max_rows": 4096},
    });
    change(&mut manifest);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{file}.onnx"));
    Member {
        manifest: Manifest::from_json(manifest.to_string().as_bytes()).unwrap(),
        onnx: std::fs::read(path).unwrap(),
        role: ReleaseRole::Live,
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn tensor<'a>(explanation: &'a RecordedExplanation, name: &str) -> &'a RecordedTensor {
    explanation
        .tensors
        .iter()
        .find(|tensor| tensor.name == name)
        .unwrap()
}

async fn last_explanation(served: &Served) -> Option<RecordedExplanation> {
    served.predictions().await.pop().unwrap().explanation
}

#[tokio::test]
async fn a_prediction_is_explained_by_feature_and_class_where_it_is_asked_for() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    let mut body = v1(70);
    body["explain"] = json!(true);
    let reply = served.post("/v1/predict", body.to_string()).await.json();
    let explanation = &reply["explanation"];
    assert_eq!(explanation["method"], "tree_shap_path_dependent");
    let outputs = explanation["outputs"].as_array().unwrap();
    let classes: Vec<_> = outputs.iter().map(|output| &output["class"]).collect();
    assert_eq!(classes, ["sell", "hold", "buy"]);
    for output in outputs {
        let contributions = output["contributions"].as_object().unwrap();
        let mut names: Vec<String> = contributions.keys().cloned().collect();
        let mut expected = column_names();
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
        let sum: f64 = contributions
            .values()
            .map(|value| value.as_f64().unwrap())
            .sum();
        let moved = output["score"].as_f64().unwrap() - output["expectation"].as_f64().unwrap();
        assert!((sum - moved).abs() <= 1e-9, "{sum} {moved}");
    }
    // The largest raw score is the answer's.
    let score = |output: &&Value| output["score"].as_f64().unwrap();
    let largest = outputs
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .unwrap();
    assert_eq!(largest["class"], reply["label"]);

    let recorded = last_explanation(&served).await.unwrap();
    assert_eq!(recorded.method.as_deref(), Some("tree_shap_path_dependent"));
    assert_eq!(tensor(&recorded, "classes").data, ["sell", "hold", "buy"]);
    let contributions = tensor(&recorded, "contributions");
    assert_eq!(contributions.shape, [1, 14, 3]);
    for (at, name) in column_names().iter().enumerate() {
        for (output, explained) in outputs.iter().enumerate() {
            let recorded = &contributions.data[at * 3 + output];
            assert_eq!(*recorded, explained["contributions"][name]);
        }
    }

    let plain = served.post("/v1/predict", v1(70).to_string()).await.json();
    assert_eq!(plain.get("explanation"), None);
    assert_eq!(plain["probabilities"], reply["probabilities"]);
    assert_eq!(last_explanation(&served).await, None);
}

#[tokio::test]
async fn the_protocol_gives_explanations_as_further_outputs_where_they_are_asked_for() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    let mut body = v2(70);
    body["parameters"] = json!({"explain": true});
    let reply = served.post(INFER, body.to_string()).await.json();
    assert_eq!(
        reply["parameters"]["explanation_method"],
        "tree_shap_path_dependent"
    );
    let names: Vec<&str> = reply["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| output["name"].as_str().unwrap())
        .collect();
    let expected = [
        "label",
        "probabilities",
        "explanation.features",
        "explanation.classes",
        "explanation.expectation",
        "explanation.score",
        "explanation.contributions",
    ];
    assert_eq!(names, expected);
    let output = |at: usize| &reply["outputs"][at];
    assert_eq!(output(2)["data"], json!(column_names()));
    assert_eq!(output(6)["shape"], json!([1, 14, 3]));
    assert_eq!(output(6)["datatype"], "FP64");
    let contributions = numbers(&output(6)["data"]);
    for class in 0..3 {
        let sum: f64 = contributions.iter().skip(class).step_by(3).sum();
        let moved = numbers(&output(5)["data"])[class] - numbers(&output(4)["data"])[class];
        assert!((sum - moved).abs() <= 1e-9, "{sum} {moved}");
    }

    // Named outputs keep their order and form; the explanation follows.
    body["outputs"] = json!([
        {"name": "explanation.score"}, {"name": "label", "parameters": {"binary_data": true}}
    ]);
    let chosen = served.post(INFER, body.to_string()).await;
    let length: usize = chosen
        .header("inference-header-content-length")
        .parse()
        .unwrap();
    let json: Value = serde_json::from_slice(&chosen.bytes[..length]).unwrap();
    let names: Vec<&Value> = json["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["name"])
        .collect();
    let expected = [
        "explanation.score",
        "label",
        "explanation.features",
        "explanation.classes",
        "explanation.expectation",
        "explanation.contributions",
    ];
    assert_eq!(names, expected);

    // Nobody who has not asked gets them, nor may name them.
    body["parameters"] = json!({});
    let refused = served.post(INFER, body.to_string()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["code"], "request.output_unknown");
    let plain = served.post(INFER, v2(70).to_string()).await.json();
    assert_eq!(plain["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(plain["parameters"].get("explanation_method"), None);
}

#[tokio::test]
async fn raw_tensors_of_an_explanation_hold_the_same_numbers() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    let mut body = v2(3);
    body["parameters"] = json!({"explain": true});
    let plain = served.post(INFER, body.to_string()).await.json();
    body["parameters"]["binary_data_output"] = json!(true);
    let raw = served.post(INFER, body.to_string()).await;
    let length: usize = raw
        .header("inference-header-content-length")
        .parse()
        .unwrap();
    let json: Value = serde_json::from_slice(&raw.bytes[..length]).unwrap();
    let last = json["outputs"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "explanation.contributions");
    let size = last["parameters"]["binary_data_size"].as_u64().unwrap() as usize;
    let bytes = &raw.bytes[raw.bytes.len() - size..];
    let found: Vec<f64> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|x| f64::from_le_bytes(*x))
        .collect();
    assert_eq!(found, numbers(&plain["outputs"][6]["data"]));
}

#[tokio::test]
async fn every_row_of_a_batch_is_explained_and_a_large_one_is_recorded_whole() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    let rows: Vec<Value> = (0..120).map(v1).collect();
    let body = json!({"rows": rows, "explain": true});
    let reply = served
        .post("/v1/predict/batch", body.to_string())
        .await
        .json();
    let predictions = reply["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 120);
    let parts = served.predictions().await;
    assert!(parts.len() > 1, "{}", parts.len());
    let tensors = parts
        .iter()
        .flat_map(|part| &part.explanation.as_ref().unwrap().tensors);
    let runs = tensors.filter(|tensor| tensor.name == "contributions");
    let mut recorded = Vec::new();
    for run in runs {
        assert_eq!(
            (run.offset, &*run.shape),
            (recorded.len(), &[120, 14, 3][..])
        );
        recorded.extend(run.data.clone());
    }
    let names = column_names();
    for (row, prediction) in predictions.iter().enumerate() {
        let outputs = prediction["explanation"]["outputs"].as_array().unwrap();
        for (output, explained) in outputs.iter().enumerate() {
            for (at, name) in names.iter().enumerate() {
                let recorded = &recorded[(row * 14 + at) * 3 + output];
                assert_eq!(*recorded, explained["contributions"][name]);
            }
        }
    }
}

#[tokio::test]
async fn a_wish_that_is_no_boolean_is_400_and_named() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    for wrong in [json!("yes"), json!(1), json!(1.5)] {
        let mut body = v2(0);
        body["parameters"] = json!({"explain": wrong});
        let mut single = v1(0);
        single["explain"] = wrong.clone();
        let batch = json!({"rows": [v1(0)], "explain": wrong});
        for (path, body, field) in [
            (INFER, body, "parameters.explain"),
            ("/v1/predict", single, "explain"),
            ("/v1/predict/batch", batch, "explain"),
        ] {
            let reply = served.post(path, body.to_string()).await;
            let error = reply.json();
            assert_eq!(
                (reply.status.as_u16(), &error["code"]),
                (400, &json!("request.field_type"))
            );
            assert_eq!(error["field"], field, "{path}");
            assert_eq!(served.last_refusal().await.field.as_deref(), Some(field));
        }
    }
    let mut body = v2(0);
    body["parameters"] = json!({"explain": {"deep": true}});
    assert_eq!(served.post(INFER, body.to_string()).await.status, 400);
    assert!(served.predictions().await.is_empty());
}

#[tokio::test]
async fn linear_models_are_explained_exactly_and_recorded_without_what_says_personal_data() {
    // As many as make means that are exact.
    let rows: Vec<Vec<f32>> = vec![[vec![1.0, 10.0], vec![3.0, 20.0]]; 64].concat();
    let line = small("line", 2, |manifest| {
        manifest["personal_data"] = json!(["c1"]);
    });
    let served = serve(vec![explained(line, ExplainWhen::Always, &rows)], |_| {
        Ports::default()
    })
    .await;
    // 2 × 5 - 3 × 4 + 1, against means of 2 and 15.
    let body = json!({"symbol": "ES", "features": {"c0": 5, "c1": 4}}).to_string();
    let reply = served.post("/v1/predict", body).await.json();
    assert_eq!(reply["value"], -1.0);
    let expected = json!({
        "method": "linear",
        "outputs": [{"expectation": -40.0, "score": -1.0, "contributions": {"c0": 6.0, "c1": 33.0}}],
    });
    assert_eq!(reply["explanation"], expected);
    let recorded = last_explanation(&served).await.unwrap();
    let contributions = tensor(&recorded, "contributions");
    // With 6 for c0, c1 would be what is left of the score.
    assert_eq!(json!(contributions.data), json!([null, null]));
    assert_eq!(contributions.redacted, ["c0", "c1"]);
    assert_eq!(json!(tensor(&recorded, "score").data), json!([-1]));
    assert!(
        recorded
            .tensors
            .iter()
            .all(|tensor| tensor.name != "classes")
    );

    // In the protocol a caller who has not asked gets what it always got; the record has it all the same.
    let body =
        json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [5, 4]}]});
    let reply = served
        .post("/v2/models/line/infer", body.to_string())
        .await
        .json();
    assert_eq!(reply["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(
        last_explanation(&served).await.unwrap().method.as_deref(),
        Some("linear")
    );
}

#[tokio::test]
async fn explanations_are_of_the_inputs_that_the_model_saw() {
    let rows = [vec![0.0, 0.0], vec![4.0, 2.0]];
    let line = small("line", 2, |manifest| {
        manifest["inputs"][0]["columns"][0]["missing"] = json!({"policy": "impute", "value": 7.0});
    });
    let served = serve(vec![explained(line, ExplainWhen::Always, &rows)], |_| {
        Ports::default()
    })
    .await;
    let body = json!({"symbol": "ES", "features": {"c0": null, "c1": 1}}).to_string();
    let reply = served.post("/v1/predict", body).await.json();
    assert_eq!(reply["changes"][0]["kind"], "imputed");
    let contributions = &reply["explanation"]["outputs"][0]["contributions"];
    assert_eq!(*contributions, json!({"c0": 10.0, "c1": 0.0}));
}

#[tokio::test]
async fn a_fallback_models_answer_is_explained_by_that_model() {
    let mut slope = explained(
        small("slope", 1, |_| {}),
        ExplainWhen::OnRequest,
        &[vec![100.0], vec![300.0]],
    );
    let same = small("same", 1, |_| {});
    slope.role = ReleaseRole::FallbackFor(same.manifest.name.clone());
    let served = serve(vec![same, slope], |_| Ports::default()).await;
    let ask = |x: f64| json!({"symbol": "ES", "features": {"x": x}, "explain": true}).to_string();
    let degraded = served.post("/v1/predict", ask(500.0)).await.json();
    assert_eq!(degraded["answered_by"], "slope@1.0.0");
    let output = &degraded["explanation"]["outputs"][0];
    assert!((output["expectation"].as_f64().unwrap() - 0.2).abs() < 1e-7);
    assert!((output["contributions"]["x"].as_f64().unwrap() - 0.3).abs() < 1e-7);
    assert_eq!(
        last_explanation(&served).await.unwrap().method.as_deref(),
        Some("linear")
    );

    // The live model is of no kind that is explained: its answer stands, and says so.
    let live = served.post("/v1/predict", ask(7.0)).await.json();
    assert_eq!(
        (&live["value"], &live["degraded"]),
        (&json!(7.0), &json!(false))
    );
    let why = &live["explanation"]["unavailable"];
    assert_eq!(why["code"], "explain.not_available");
    assert!(
        why["reason"].as_str().unwrap().contains("same@1.0.0"),
        "{why}"
    );
    let recorded = last_explanation(&served)
        .await
        .unwrap()
        .unavailable
        .unwrap();
    assert_eq!(recorded.code, "explain.not_available");
    let body = json!({
        "parameters": {"explain": true},
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [7]}],
    });
    let reply = served
        .post("/v2/models/same/infer", body.to_string())
        .await
        .json();
    assert_eq!(reply["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(
        reply["parameters"]["explanation_unavailable"],
        "explain.not_available"
    );
}

#[tokio::test]
async fn an_answer_that_no_model_gave_is_not_explained_and_says_so() {
    let mut line = explained(
        small("slope", 1, |_| {}),
        ExplainWhen::OnRequest,
        &[vec![1.0]],
    );
    line.manifest.fallback = serde_json::from_value(json!({
        "last_good_max_age_s": 60, "neutral": {"value": 0.0}
    }))
    .unwrap();
    let served = serve(vec![line], |_| Ports::default()).await;
    let ask = |symbol: &str, x: f64| {
        json!({"symbol": symbol, "features": {"x": x}, "explain": true}).to_string()
    };
    served.post("/v1/predict", ask("ES", 5.0)).await;
    for (symbol, answered_by) in [("ES", "last_good"), ("NQ", "neutral")] {
        let reply = served.post("/v1/predict", ask(symbol, 1e9)).await.json();
        assert_eq!(reply["answered_by"], answered_by);
        assert_eq!(
            reply["explanation"]["unavailable"]["code"],
            "explain.no_model"
        );
        let recorded = last_explanation(&served)
            .await
            .unwrap()
            .unavailable
            .unwrap();
        assert_eq!(recorded.code, "explain.no_model");
    }
}

#[tokio::test]
async fn an_explanation_that_takes_too_long_never_costs_the_answer() {
    // In every branch half of these go each way.
    let rows = [vec![-0.5; 22], vec![0.5; 22]];
    let mut woven = explained(small("woven", 22, |_| {}), ExplainWhen::Always, &rows);
    woven.manifest.latency_budget_ms = 400;
    let served = serve(vec![woven], |_| Ports::default()).await;
    let features: serde_json::Map<String, Value> =
        (0..22).map(|at| (format!("c{at}"), json!(0.25))).collect();
    let body = json!({"symbol": "ES", "features": features}).to_string();
    let began = std::time::Instant::now();
    let reply = served.post("/v1/predict", body).await.json();
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(
        (&reply["value"], &reply["degraded"]),
        (&json!(7.0), &json!(false))
    );
    let code = "explain.deadline_exceeded";
    assert_eq!(reply["explanation"]["unavailable"]["code"], code);
    assert_eq!(
        last_explanation(&served)
            .await
            .unwrap()
            .unavailable
            .unwrap()
            .code,
        code
    );
}

#[tokio::test]
async fn an_explanation_that_is_too_large_never_costs_the_answer() {
    let mut live = explained(
        example_members().remove(0),
        ExplainWhen::Always,
        &example_rows(3),
    );
    live.manifest.limits.max_rows = 10_000;
    let served = serve(vec![live], |_| Ports::default()).await;
    let rows = predict::explain::MAX_CONTRIBUTIONS / (14 * 3) + 1;
    let mut body = v2(0);
    let data = body["inputs"][0]["data"].take();
    body["inputs"][0]["data"] = vec![data; rows].into();
    body["inputs"][0]["shape"] = json!([rows, 14]);
    body["parameters"] = json!({"explain": true});
    body["outputs"] = json!([{"name": "label"}]);
    let reply = served.post(INFER, body.to_string()).await.json();
    assert_eq!(reply["outputs"][0]["shape"], json!([rows]));
    assert_eq!(
        reply["parameters"]["explanation_unavailable"],
        "explain.too_large"
    );
}

#[tokio::test]
async fn a_repeated_request_gets_its_explanation_again_and_another_wish_is_another_request() {
    let served = serve_explained(ExplainWhen::OnRequest).await;
    let mut body = v1(5);
    body["request_id"] = json!("once");
    body["explain"] = json!(true);
    let first = served.post("/v1/predict", body.to_string()).await;
    let again = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(again.header("sealcast-replayed"), "true");
    assert_eq!(first.bytes, again.bytes);
    body["explain"] = json!(false);
    let other = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(
        (other.status.as_u16(), &other.json()["code"]),
        (409, &json!("request.id_reused"))
    );
}

#[tokio::test]
async fn a_background_of_another_model_does_not_load() {
    let line = explained(
        small("line", 2, |_| {}),
        ExplainWhen::Always,
        &[vec![1.0, 2.0]],
    );
    let mut members = example_members();
    members[0].manifest.explain = line.manifest.explain;
    let served = crate::support::prepare(members, |_| Ports::default()).await;
    let release = domain::ReleaseId::from_number(1).unwrap();
    let error = served.predict.activate(release).await.unwrap_err();
    assert_eq!(error.code(), "model.manifest_mismatch");
    assert!(
        error.to_string().contains("explain.background.summary"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_value_reaches_a_model_only_where_the_manifest_passes_it() {
    // NaN in every way in which it can be sent: as null, and as raw bits.
    for (policy, answer) in [
        (json!({"policy": "reject"}), None),
        (
            json!({"policy": "impute", "value": 2.0}),
            Some(2.0 * 2.0 - 3.0 + 1.0),
        ),
    ] {
        let line = small("line", 2, |manifest| {
            manifest["inputs"][0]["columns"][0]["missing"] = policy.clone();
        });
        let served = serve(vec![line], |_| Ports::default()).await;
        let null = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [null, 1]}]});
        let null = served.post("/v2/models/line/infer", null.to_string()).await;
        // A quiet NaN, a signalling one, and one with its sign set.
        let mut replies = vec![null];
        for bits in [0x7fc0_0000_u32, 0x7f80_0001, 0xffc1_2345] {
            let head = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]})
                .to_string();
            let length = head.len().to_string();
            let mut body = head.into_bytes();
            body.extend(bits.to_le_bytes());
            body.extend(1.0_f32.to_le_bytes());
            let headers = [("inference-header-content-length", length.as_str())];
            replies.push(
                served
                    .post_with("/v2/models/line/infer", &headers, body.clone())
                    .await,
            );
            let whole = [("inference-header-content-length", "0")];
            let raw = body[body.len() - 8..].to_vec();
            let reply = served.post_with("/v2/models/line/infer", &whole, raw).await;
            let length = reply
                .header("inference-header-content-length")
                .parse::<usize>();
            match (answer, length) {
                (None, _) => assert_eq!(reply.json()["code"], "input.missing_value"),
                (Some(answer), Ok(length)) => {
                    assert_eq!(reply.bytes[length..], (answer as f32).to_le_bytes());
                }
                (Some(_), Err(error)) => panic!("{error}: {reply:?}"),
            }
        }
        for reply in replies {
            let body = reply.json();
            match answer {
                None => {
                    assert_eq!(reply.status, 400);
                    assert_eq!(body["code"], "input.missing_value");
                    assert_eq!(body["field"], "inputs.x[0].c0");
                }
                Some(answer) => assert_eq!(body["outputs"][0]["data"], json!([answer])),
            }
        }
        let reached = served.predictions().await;
        let inputs = reached.iter().flat_map(|prediction| &prediction.inputs);
        assert!(inputs.flat_map(|input| &input.data).all(Value::is_number));
    }
    // A tree takes it, and its record says that it was missing.
    let woven = small("woven", 22, |manifest| {
        for column in manifest["inputs"][0]["columns"].as_array_mut().unwrap() {
            column["missing"] = json!({"policy": "pass"});
        }
    });
    let served = serve(vec![woven], |_| Ports::default()).await;
    let body = json!({"symbol": "ES", "features": vec![Value::Null; 22]}).to_string();
    assert_eq!(served.post("/v1/predict", body).await.json()["value"], 7.0);
    let recorded = served.predictions().await.pop().unwrap();
    assert_eq!(recorded.inputs[0].data, vec![Value::Null; 22]);
}

#[tokio::test]
async fn a_model_that_was_sealed_without_a_background_answers_as_before() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["explain"] = json!(false);
    let reply = served.post("/v1/predict", body.to_string()).await.json();
    assert_eq!(reply.get("explanation"), None);
    let event = served.predictions().await.pop().unwrap();
    assert!(
        !json!(event)
            .as_object()
            .unwrap()
            .contains_key("explanation")
    );
}
