//! Releases that must not serve: each has its code, a record, and leaves what served before in place.

use domain::ports::ArtifactWriter;
use domain::{ReleaseId, ReleaseRole};
use serde_json::json;

use crate::support::{Served, example_members, serve_example, v1};

async fn refuses(served: &Served, number: u64, code: &str, security: bool) {
    let id = ReleaseId::from_number(number).unwrap();
    let events_before = served.events().await.len();
    assert_eq!(served.predict.activate(id).await.unwrap_err().code(), code);
    let events = served.events().await.split_off(events_before);
    let said = |kind: &str| {
        events
            .iter()
            .any(|e| e.body.kind() == kind && json!(e.body)["data"]["code"] == code)
    };
    assert_eq!(said("security"), security, "{events:?}");
    // The release before goes on.
    let answer = served.post("/v1/predict", v1(0).to_string()).await.json();
    assert_eq!(answer["release"], "r-000001");
    assert_eq!(served.get("/v2/health/ready").await.json()["reason"], code);
}

#[tokio::test]
async fn a_release_that_pins_other_files_does_not_serve() {
    let served = serve_example().await;
    let mut member = example_members().remove(0);
    member.manifest.version = "1.0.1".parse().unwrap();
    let mut release = served.release(2, vec![member]).await;
    release.id = ReleaseId::from_number(3).unwrap();
    release.models[0].digest = domain::Sha256Digest::of(b"other files");
    served
        .store
        .release_writer()
        .create(&release)
        .await
        .unwrap();
    refuses(&served, 3, "artifact.release_digest_mismatch", true).await;
}

#[tokio::test]
async fn a_fallback_model_with_other_labels_does_not_serve() {
    let served = serve_example().await;
    let mut members = example_members();
    members[0].manifest.version = "1.0.1".parse().unwrap();
    members[1].manifest.version = "1.0.1".parse().unwrap();
    let text = json!(members[1].manifest)
        .to_string()
        .replace("\"sell\"", "\"short\"");
    members[1].manifest = artifact::Manifest::from_json(text.as_bytes()).unwrap();
    assert!(matches!(members[1].role, ReleaseRole::FallbackFor(_)));
    served.release(2, members).await;
    refuses(&served, 2, "release.fallback_mismatch", false).await;
}

#[tokio::test]
async fn the_sidecar_of_another_model_does_not_serve() {
    let served = serve_example().await;
    let mut member = example_members().remove(0);
    member.manifest.version = "1.0.1".parse().unwrap();
    let release = served.release(2, vec![member]).await;
    let first = served
        .store
        .artifact_reader()
        .read(&release.models[0].name, &"1.0.0".parse().unwrap())
        .await
        .unwrap();
    let writer: std::sync::Arc<dyn ArtifactWriter> = served.store.artifact_writer();
    writer
        .replace_sidecar(
            &release.models[0].name,
            &release.models[0].version,
            &first.sidecar,
        )
        .await
        .unwrap();
    refuses(&served, 2, "artifact.sidecar_mismatch", true).await;
}

#[tokio::test]
async fn a_release_that_does_not_exist_does_not_serve() {
    let served = serve_example().await;
    refuses(&served, 9, "release.unavailable", false).await;
}
