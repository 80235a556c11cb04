//! Models that are sealed with their packed form.

use artifact::Salt;
use artifact::manifest::ExplainWhen;
use artifact::seal::PackedModel;
use domain::ReleaseId;
use engine::{LoadLimits, PACKED_FORMAT, pack};
use serde_json::{Value, json};

use crate::explained::{example_rows, explained};
use crate::support::{Member, Served, example_members, prepare, sealing, serve_example};
use crate::support::{Ports, example_dir};

/// Release 2: version 1.0.1 of the live model, sealed with these bytes as its packed form.
async fn release_packed(served: &Served, format: u32, bytes: &[u8]) {
    release_packed_member(served, example_members().remove(0), format, bytes).await;
}

async fn release_packed_member(served: &Served, member: Member, format: u32, bytes: &[u8]) {
    let Member {
        mut manifest,
        onnx,
        role,
    } = member;
    manifest.version = "1.0.1".parse().unwrap();
    let packed = PackedModel {
        format,
        bytes,
        salt: Salt([9; 24]),
    };
    let sealing = sealing(&served.store);
    let model = sealing.push_packed(manifest, &onnx, packed, role).await;
    sealing.release(2, vec![model]).await;
}

fn packed_example() -> Vec<u8> {
    let onnx = example_members().remove(0).onnx;
    pack(&onnx, &LoadLimits::default()).unwrap().unwrap()
}

async fn activate(served: &Served) -> Result<(), String> {
    activate_release(served, 2).await
}

async fn activate_release(served: &Served, number: u64) -> Result<(), String> {
    let id = ReleaseId::from_number(number).unwrap();
    let activated = served.predict.activate(id).await;
    activated.map_err(|error| error.code().to_owned())
}

/// The path of a file of the model that [`release_packed`] pushes.
fn file(served: &Served, name: &str) -> std::path::PathBuf {
    let folder = served.dir.path().join("artifacts/spx-direction/1.0.1");
    folder.join(name)
}

async fn ask(served: &Served) -> Value {
    let request = std::fs::read(example_dir().join("request-v1.json")).unwrap();
    let mut request: Value = serde_json::from_slice(&request).unwrap();
    request["request_id"] = Value::Null;
    request.as_object_mut().unwrap().remove("request_id");
    let reply = served.post("/v1/predict", request.to_string()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.json());
    let answer = reply.json();
    json!({"answer": answer["answer"], "probabilities": answer["probabilities"], "prediction": answer["prediction"],
        "explanation": answer["explanation"]})
}

#[tokio::test]
async fn packed_model_answers_as_its_onnx_file_which_is_not_read() {
    let served = serve_example().await;
    let before = ask(&served).await;
    release_packed(&served, PACKED_FORMAT, &packed_example()).await;
    std::fs::remove_file(file(&served, "model.onnx.sealed")).unwrap();
    activate(&served).await.unwrap();
    assert_eq!(ask(&served).await, before);
}

#[tokio::test]
async fn packed_model_is_explained_as_its_onnx_file_which_is_not_read() {
    let explained = || {
        let member = example_members().remove(0);
        explained(member, ExplainWhen::Always, &example_rows(40))
    };
    let mut members = example_members();
    members[0] = explained();
    let served = prepare(members, |_| Ports::default()).await;
    activate_release(&served, 1).await.unwrap();
    let before = ask(&served).await;
    assert!(before["explanation"]["outputs"].is_array(), "{before}");
    release_packed_member(&served, explained(), PACKED_FORMAT, &packed_example()).await;
    std::fs::remove_file(file(&served, "model.onnx.sealed")).unwrap();
    activate(&served).await.unwrap();
    assert_eq!(ask(&served).await, before);
}

#[tokio::test]
async fn packed_form_of_another_engine_is_left_aside_for_the_onnx_file() {
    let served = serve_example().await;
    let before = ask(&served).await;
    release_packed(
        &served,
        PACKED_FORMAT + 1,
        b"what only another engine reads",
    )
    .await;
    activate(&served).await.unwrap();
    assert_eq!(ask(&served).await, before);
}

#[tokio::test]
async fn packed_form_that_does_not_load_is_refused() {
    let served = prepare(example_members(), |_| Ports::default()).await;
    release_packed(&served, PACKED_FORMAT, b"no packed form").await;
    assert_eq!(
        activate(&served).await.unwrap_err(),
        "model.packed_malformed"
    );
}

#[tokio::test]
async fn changed_or_missing_packed_form_is_a_security_event() {
    for (change, code) in [
        (true, "artifact.digest_mismatch"),
        (false, "artifact.file_missing"),
    ] {
        let served = prepare(example_members(), |_| Ports::default()).await;
        release_packed(&served, PACKED_FORMAT, &packed_example()).await;
        let path = file(&served, "model.packed.sealed");
        let mut bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        if change {
            bytes[100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(activate(&served).await.unwrap_err(), code);
        let events = served.events().await;
        let said = |event: &audit::Event| {
            let event = serde_json::to_value(event).unwrap().to_string();
            event.contains("security") && event.contains(code)
        };
        assert!(events.iter().any(said), "{events:?}");
    }
}
