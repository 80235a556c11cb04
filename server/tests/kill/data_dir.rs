//! A data directory with the example's release, made through the stores as an operator's commands make it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use artifact::{Manifest, PublicKey, Salt};
use domain::ports::{
    AliasWriter as _, ArtifactFiles, ArtifactWriter as _, Clock as _, Entropy as _,
    ReleaseWriter as _,
};
use domain::release::ReleaseFormat;
use domain::system::{SystemClock, SystemEntropy};
use domain::{PrincipalId, Release, ReleaseId, ReleaseModel, ReleaseRole, Sha256Digest};
use std::io::Write as _;
use store_embedded::{FileArtifacts, FileReleases, LocalKeys};

/// The one bearer token that the server knows.
pub(crate) const TOKEN: &str = "token-of-the-kill-test";
const LIVE: &str = "spx-direction";
const FALLBACK: &str = "spx-direction-mlp";

/// A data directory below the build's own folder for such things.
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn prepare() -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kill-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let data = Self(path);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(data.fill());
        data
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The public key that vouches for audit streams, by its id.
    pub(crate) fn trusted_stream_keys(&self) -> Vec<(String, audit::PublicKey)> {
        LocalKeys::open(&self.0.join("keys"))
            .unwrap()
            .trusted_stream_keys()
    }

    pub(crate) fn read_server_log(&self) -> String {
        let log = fs::read_to_string(self.0.join("server.log")).unwrap_or_default();
        let from = log.len().saturating_sub(4000);
        log.get(from..).unwrap_or(&log).to_owned()
    }

    /// Removes it; a test that failed leaves it to be looked at.
    pub(crate) fn remove(self) {
        fs::remove_dir_all(self.0).unwrap();
    }

    async fn fill(&self) {
        let keys = LocalKeys::create(&self.0.join("keys")).unwrap();
        let artifacts = FileArtifacts::open(&self.0).unwrap();
        let fallback_role = ReleaseRole::FallbackFor(artifact::ModelName::parse(LIVE).unwrap());
        let models = vec![
            seal(&keys, &artifacts, LIVE, "manifest.json", ReleaseRole::Live).await,
            seal(
                &keys,
                &artifacts,
                FALLBACK,
                "manifest-mlp.json",
                fallback_role,
            )
            .await,
        ];
        let release = Release {
            format: ReleaseFormat::V1,
            id: ReleaseId::from_number(1).unwrap(),
            created_by: PrincipalId::parse("kill-test").unwrap(),
            created_at: audit::stream::rfc3339(SystemClock.now_us()),
            models,
        };
        let releases = FileReleases::open(&self.0).unwrap();
        releases.create(&release).await.unwrap();
        releases
            .compare_and_swap("live", 0, release.id)
            .await
            .unwrap();
        self.write_tokens();
    }

    fn write_tokens(&self) {
        let sha256 = Sha256Digest::of(TOKEN.as_bytes()).to_string();
        let token = serde_json::json!({"sha256": sha256, "principal": "kill-test", "roles": ["predictor", "auditor"]});
        let tokens = serde_json::json!({"format": "sealcast.tokens/v1", "tokens": [token]});
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join("tokens.json"))
            .unwrap();
        file.write_all(tokens.to_string().as_bytes()).unwrap();
    }
}

/// Folder of the example.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/spx-direction")
}

async fn seal(
    keys: &LocalKeys,
    artifacts: &FileArtifacts,
    model: &str,
    manifest: &str,
    role: ReleaseRole,
) -> ReleaseModel {
    let onnx = fs::read(example().join(format!("{model}.onnx"))).unwrap();
    let manifest = Manifest::from_json(&fs::read(example().join(manifest)).unwrap()).unwrap();
    let (name, version) = (manifest.name.clone(), manifest.version.clone());
    let context = artifact::seal::context_of(&manifest, &onnx).to_map();
    let (key, wrapped) = keys
        .wrapper()
        .generate(keys.master_key_id(), &context)
        .await
        .unwrap();
    let mut salt = [0; 24];
    SystemEntropy.fill(&mut salt).unwrap();
    let unsigned = artifact::seal::seal(manifest, &onnx, &key, &Salt(salt)).unwrap();
    let signer = keys.model_signer();
    let signature = signer.sign(unsigned.pae()).await.unwrap();
    let public = PublicKey::from_pem(&signer.public_key_pem().await.unwrap()).unwrap();
    let sealed = unsigned.sign(&signature, &public).unwrap();
    let expected = (name.clone(), version.clone());
    let now = SystemClock.now_us() / 1_000_000;
    let digest = artifact::open::verify(sealed.files(), &expected, &keys.trusted_model_keys(), now)
        .unwrap()
        .digest();
    let files = ArtifactFiles {
        sidecar: sealed
            .wrap(keys.master_key_id().to_owned(), wrapped)
            .to_json()
            .unwrap(),
        manifest: sealed.manifest_json,
        sealed: sealed.sealed,
        packed: sealed.packed,
        bundle: sealed.bundle,
    };
    artifacts.create(&name, &version, &files).await.unwrap();
    ReleaseModel {
        role,
        name,
        version,
        digest,
    }
}
