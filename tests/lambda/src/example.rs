//! A data directory with a release in it.

use std::path::{Path, PathBuf};

use artifact::Manifest;
use domain::{Release, ReleaseRole};
use serde_json::json;
use store_embedded::EmbeddedStore;
use testkit::Sealing;

/// The repository's root.
///
/// # Panics
/// Never: this crate is two folders below it.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("two folders above")
        .to_owned()
}

/// A model of a release.
pub struct Example {
    manifest: Manifest,
    onnx: Vec<u8>,
    role: ReleaseRole,
}

impl Example {
    /// The example's models: the live one and the one that stands in for it.
    ///
    /// # Panics
    /// Where the example is not there.
    pub fn spx_direction() -> Vec<Self> {
        let dir = root().join("examples/spx-direction");
        let read = |name: &str| std::fs::read(dir.join(name)).expect("a file of the example");
        let model = |manifest: &str, onnx: &str, role| {
            let mut manifest = Manifest::from_json(&read(manifest)).expect("a manifest");
            // A busy machine and an unoptimised build must not make the ladder's steps late.
            manifest.latency_budget_ms = 30_000;
            Self {
                manifest,
                onnx: read(onnx),
                role,
            }
        };
        let live = model("manifest.json", "spx-direction.onnx", ReleaseRole::Live);
        let role = ReleaseRole::FallbackFor(live.manifest.name.clone());
        vec![
            live,
            model("manifest-mlp.json", "spx-direction-mlp.onnx", role),
        ]
    }

    /// A live model of one input, `x`, whose `value` is `x` (`same`) or `x` times 0.001 as FP32 (`thousandth`).
    ///
    /// # Panics
    /// For another name.
    pub fn of_one_number(name: &str) -> Self {
        let manifest = json!({
            "format": "sealcast.manifest/v1", "name": name, "version": "1.0.0", "owner": "tests", "algo_id": "T-1",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1], "columns": [{"name": "x"}]}],
            "output": {"kind": "regression", "value": "value", "min": -1e6, "max": 1e6},
            "latency_budget_ms": 30_000, "limits": {"max_rows": 16}, "fallback": {},
        });
        let file = root()
            .join("functions/predict/tests/models")
            .join(format!("{name}.onnx"));
        Self {
            manifest: Manifest::from_json(manifest.to_string().as_bytes()).expect("a manifest"),
            onnx: std::fs::read(file).expect("a model of predict's tests"),
            role: ReleaseRole::Live,
        }
    }

    /// Seals and pushes the models and makes them the store's first release.
    ///
    /// # Panics
    /// Where anything fails.
    pub async fn release(store: &EmbeddedStore, models: Vec<Self>) -> Release {
        let keys = store.keys();
        let sealing = Sealing {
            artifacts: store.artifact_writer(),
            releases: store.release_writer(),
            wrapper: store.key_wrapper(),
            data_key: keys.master_key_id().to_owned(),
            signer: store.model_signer(),
            trusted: keys.trusted_model_keys().remove(0),
        };
        let mut members = Vec::new();
        for model in models {
            members.push(sealing.push(model.manifest, &model.onnx, model.role).await);
        }
        sealing.release(1, members).await
    }
}
