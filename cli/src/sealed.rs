//! Sealed artifacts at rest: making one, reading and writing its four files, and opening one again to the end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use artifact::container::Salt;
use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::manifest::MAX_MANIFEST_SIZE;
use artifact::open::{Verified, verify};
use artifact::seal::{context_of, seal};
use artifact::sidecar::MAX_SIDECAR_SIZE;
use artifact::signature::MAX_BUNDLE_SIZE;
use artifact::{Manifest, Opened, PublicKey, Sidecar, TrustedKey};
use domain::StoreError;
use domain::ports::{ArtifactFiles, ArtifactReader, Clock as _, KeyUnwrapper};
use domain::system::SystemClock;
use store_embedded::MAX_CONTAINER_BYTES;

use crate::arguments::ModelLabel;
use crate::failure::Failure;
use crate::files;
use crate::progress;
use crate::stores::Keys;

/// Encrypts the model under a fresh data key, signs it and wraps the key.
pub(crate) async fn seal_model(
    manifest: Manifest,
    onnx: &[u8],
    keys: &Keys,
) -> Result<ArtifactFiles, Failure> {
    let context = context_of(&manifest, onnx).to_map();
    let key_id = &keys.wrapping_key;
    let (key, wrapped) = keys.wrapper.generate(key_id, &context).await?;
    let salt = Salt(files::random()?);
    let unsigned = seal(manifest, onnx, &key, &salt)?;
    let signer = &keys.model_signer;
    let signature = signer.sign(unsigned.pae()).await?;
    let public = PublicKey::from_pem(&signer.public_key_pem().await?)
        .map_err(|error| Failure::refused("artifact.public_key", error.to_string()))?;
    let sealed = unsigned.sign(&signature, &public)?;
    let sidecar = sealed
        .wrap(key_id.clone(), wrapped)
        .to_json()
        .map_err(|error| Failure::refused(error.code(), error.to_string()))?;
    Ok(ArtifactFiles {
        manifest: sealed.manifest_json,
        sealed: sealed.sealed,
        bundle: sealed.bundle,
        sidecar,
    })
}

/// What [`open_model`] found.
#[derive(Debug)]
pub(crate) struct OpenedModel {
    pub(crate) opened: Opened,
    pub(crate) digest: artifact::Sha256Digest,
    pub(crate) signed_by: String,
}

/// Verifies the files as those of `label`, signed by a key that is trusted now. Nothing is decrypted.
pub(crate) fn verify_model<'a>(
    files: &'a ArtifactFiles,
    label: &ModelLabel,
    trusted: &[TrustedKey],
) -> Result<Verified<'a>, Failure> {
    let expected = (label.name.clone(), label.version.clone());
    let given = artifact::ArtifactFiles {
        manifest_json: &files.manifest,
        sealed: &files.sealed,
        bundle: &files.bundle,
    };
    let now = SystemClock.now_us() / 1_000_000;
    let verified = verify(given, &expected, trusted, now)?;
    let sidecar = read_sidecar(files)?;
    verified.check_sidecar(&sidecar)?;
    Ok(verified)
}

/// Verifies the files, unwraps the data key and decrypts the model: everything that a server does with them.
pub(crate) async fn open_model(
    files: &ArtifactFiles,
    label: &ModelLabel,
    trusted: &[TrustedKey],
    unwrapper: &dyn KeyUnwrapper,
) -> Result<OpenedModel, Failure> {
    let verified = verify_model(files, label, trusted)?;
    let sidecar = read_sidecar(files)?;
    let context = verified.context().to_map();
    let key = unwrapper
        .unwrap(&sidecar.key_id, &sidecar.wrapped_key, &context)
        .await?;
    Ok(OpenedModel {
        opened: verified.open(&key)?,
        digest: verified.digest(),
        signed_by: verified.signed_by().to_owned(),
    })
}

fn read_sidecar(files: &ArtifactFiles) -> Result<Sidecar, Failure> {
    Sidecar::from_json(&files.sidecar)
        .map_err(|error| Failure::refused(error.code(), error.to_string()))
}

/// Which model the manifest says that these files are; nothing is verified yet.
pub(crate) fn label_of(files: &ArtifactFiles) -> Result<ModelLabel, Failure> {
    let manifest = Manifest::from_json(&files.manifest)
        .map_err(|error| Failure::refused(error.code(), error.to_string()))?;
    Ok(ModelLabel {
        name: manifest.name,
        version: manifest.version,
    })
}

/// Reads the four files of a model in the store, which must be there.
pub(crate) async fn read_stored(
    artifacts: &dyn ArtifactReader,
    label: &ModelLabel,
) -> Result<ArtifactFiles, Failure> {
    let _shown = progress::show(format!("reading {label}"));
    let read = artifacts.read(&label.name, &label.version).await;
    read.map_err(|error| match error {
        StoreError::NotFound(_) => {
            let message = format!("{label} is not in the store; push it first");
            Failure::not_found("store.not_found", message).at(label.to_string())
        }
        error => Failure::from(error)
            .while_doing(label)
            .at(label.to_string()),
    })
}

/// Reads the four files of a folder.
pub(crate) fn read_folder(dir: &Path) -> Result<ArtifactFiles, Failure> {
    if !dir.is_dir() {
        let message = format!("{}: no such folder", dir.display());
        return Err(Failure::not_found("file.not_found", message).at(dir.display().to_string()));
    }
    Ok(ArtifactFiles {
        manifest: files::read(&dir.join(MANIFEST_FILE), MAX_MANIFEST_SIZE as u64)?,
        sealed: files::read(&dir.join(CONTAINER_FILE), MAX_CONTAINER_BYTES)?,
        bundle: files::read(&dir.join(SIGNATURE_FILE), MAX_BUNDLE_SIZE as u64)?,
        sidecar: files::read(&dir.join(SIDECAR_FILE), MAX_SIDECAR_SIZE as u64)?,
    })
}

/// Writes the four files to a folder that is made for them: all or nothing. `check` sees them as they were
/// read back, before the folder gets its name.
pub(crate) fn write_folder(
    dir: &Path,
    files: &ArtifactFiles,
    check: impl FnOnce(&ArtifactFiles) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unfinished = files::unfinished_beside(dir)?;
    let fail = |error: std::io::Error| Failure::file("create", dir, &error);
    let result = DirBuilder::new()
        .mode(0o755)
        .create(&unfinished)
        .map_err(fail)
        .and_then(|()| {
            for (name, bytes) in [
                (MANIFEST_FILE, &files.manifest),
                (CONTAINER_FILE, &files.sealed),
                (SIGNATURE_FILE, &files.bundle),
                (SIDECAR_FILE, &files.sidecar),
            ] {
                files::create_public(&unfinished.join(name), bytes)?;
            }
            check(&read_folder(&unfinished)?)?;
            rename_new(&unfinished, dir)
        });
    if result.is_err() {
        // What cannot be removed is an unfinished folder with a name that nothing reads.
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    result
}

fn rename_new(unfinished: &Path, dir: &Path) -> Result<(), Failure> {
    use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    let place = dir.display();
    std::fs::File::open(unfinished)
        .and_then(|folder| folder.sync_all())
        .and_then(|()| std::fs::rename(unfinished, dir))
        .and_then(|()| files::sync_parent(dir))
        .map_err(|error| match error.kind() {
            AlreadyExists | DirectoryNotEmpty | NotADirectory => Failure::refused(
                "file.exists",
                format!("create {place}: it exists and is never overwritten"),
            )
            .at(place.to_string()),
            _ => Failure::file("create", dir, &error),
        })
}
