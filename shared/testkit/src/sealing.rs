//! Seals real models, pushes them and makes releases of them, through any stores.

use std::sync::Arc;

use artifact::seal::PackedModel;
use artifact::{Manifest, Salt, TrustedKey, open, seal};
use domain::ports::{ArtifactFiles, ArtifactWriter, KeyWrapper, ReleaseWriter, Signer};
use domain::release::ReleaseFormat;
use domain::{PrincipalId, Release, ReleaseModel, ReleaseRole};

use crate::build::{random, release_id};

/// What sealing takes.
pub struct Sealing {
    /// Where artifacts go.
    pub artifacts: Arc<dyn ArtifactWriter>,
    /// Where releases go.
    pub releases: Arc<dyn ReleaseWriter>,
    /// Makes data keys under `data_key`.
    pub wrapper: Arc<dyn KeyWrapper>,
    /// Id of the key that wraps data keys.
    pub data_key: String,
    /// Signs artifacts.
    pub signer: Arc<dyn Signer>,
    /// Its public key.
    pub trusted: TrustedKey,
}

impl Sealing {
    /// Seals the model and pushes it.
    ///
    /// # Panics
    /// Where anything fails.
    pub async fn push(&self, manifest: Manifest, onnx: &[u8], role: ReleaseRole) -> ReleaseModel {
        self.push_files(manifest, onnx, None, role).await
    }

    /// Seals the model with what is said to be its packed form, and pushes both.
    ///
    /// # Panics
    /// Where anything fails.
    pub async fn push_packed(
        &self,
        manifest: Manifest,
        onnx: &[u8],
        packed: PackedModel<'_>,
        role: ReleaseRole,
    ) -> ReleaseModel {
        self.push_files(manifest, onnx, Some(packed), role).await
    }

    async fn push_files(
        &self,
        manifest: Manifest,
        onnx: &[u8],
        packed: Option<PackedModel<'_>>,
        role: ReleaseRole,
    ) -> ReleaseModel {
        let context = seal::context_of(&manifest, onnx);
        let (key, wrapped) = self
            .wrapper
            .generate(&self.data_key, &context.to_map())
            .await
            .expect("a data key");
        let salt = Salt(random());
        let unsigned = match packed {
            Some(packed) => seal::seal_packed(manifest, onnx, packed, &key, &salt),
            None => seal::seal(manifest, onnx, &key, &salt),
        };
        let unsigned = unsigned.expect("a sealed model");
        let signature = self.signer.sign(unsigned.pae()).await.expect("a signature");
        let sealed = unsigned
            .sign(&signature, &self.trusted.key)
            .expect("the signer's own key");
        let sidecar = sealed.wrap(self.data_key.clone(), wrapped);
        let id = (context.model, context.version);
        let now = 1_800_000_000;
        let digest = open::verify(
            sealed.files(),
            &id,
            std::slice::from_ref(&self.trusted),
            now,
        )
        .expect("what was sealed verifies")
        .digest();
        let files = ArtifactFiles {
            manifest: sealed.manifest_json.clone(),
            sealed: sealed.sealed.clone(),
            packed: sealed.packed.clone(),
            bundle: sealed.bundle.clone(),
            sidecar: sidecar.to_json().expect("JSON"),
        };
        self.artifacts
            .create(&id.0, &id.1, &files)
            .await
            .expect("an artifact that is new");
        ReleaseModel {
            role,
            name: id.0,
            version: id.1,
            digest,
        }
    }

    /// Creates release `number` of these models.
    ///
    /// # Panics
    /// Where the store does not take it.
    pub async fn release(&self, number: u64, models: Vec<ReleaseModel>) -> Release {
        let release = Release {
            format: ReleaseFormat::V1,
            id: release_id(number),
            created_by: PrincipalId::parse("anna").expect("a principal"),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            models,
        };
        self.releases
            .create(&release)
            .await
            .expect("a release that is next");
        release
    }
}
