//! Sealed artifacts at rest: making one, reading and writing its files, and opening one again to the end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use artifact::container::Salt;
use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::manifest::MAX_MANIFEST_SIZE;
use artifact::manifest::PackedFile;
use artifact::open::{Verified, verify};
use artifact::seal::{PackedModel, context_of, seal, seal_packed};
use artifact::sidecar::MAX_SIDECAR_SIZE;
use artifact::signature::MAX_BUNDLE_SIZE;
use artifact::{Manifest, Opened, PublicKey, Sidecar, TrustedKey};
use domain::StoreError;
use domain::ports::{ArtifactFiles, ArtifactReader, Clock as _, KeyUnwrapper};
use domain::system::SystemClock;
use engine::{Explainer, Form, LoadLimits, Model, PACKED_FORMAT, Scorer};
use store_embedded::MAX_CONTAINER_BYTES;
use zeroize::Zeroizing;

use crate::arguments::ModelLabel;
use crate::failure::Failure;
use crate::files;
use crate::progress;
use crate::stores::{Keys, Stores};

/// Encrypts the model, and its packed form where it has one, under a fresh data key, signs both and wraps the key.
pub(crate) async fn seal_model(
    manifest: Manifest,
    onnx: &[u8],
    packed: Option<&[u8]>,
    keys: &Keys,
) -> Result<ArtifactFiles, Failure> {
    let context = context_of(&manifest, onnx).to_map();
    let key_id = &keys.wrapping_key;
    let (key, wrapped) = keys.wrapper.generate(key_id, &context).await?;
    let salt = Salt(files::random()?);
    let unsigned = match packed {
        Some(bytes) => {
            let packed = PackedModel {
                format: PACKED_FORMAT,
                bytes,
                salt: Salt(files::random()?),
            };
            seal_packed(manifest, onnx, packed, &key, &salt)?
        }
        None => seal(manifest, onnx, &key, &salt)?,
    };
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
        packed: sealed.packed,
        bundle: sealed.bundle,
        sidecar,
    })
}

/// What [`open_model`] found.
#[derive(Debug)]
pub(crate) struct OpenedModel {
    pub(crate) opened: Opened,
    /// The plain packed form, and what the manifest says of it.
    pub(crate) packed: Option<(PackedFile, Zeroizing<Vec<u8>>)>,
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
        sealed: Some(&files.sealed),
        packed: files.packed.as_deref(),
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
    let packed = match verified.manifest().packed {
        Some(stated) => Some((stated, verified.open_packed(&key)?)),
        None => None,
    };
    Ok(OpenedModel {
        opened: verified.open(&key)?,
        packed,
        digest: verified.digest(),
        signed_by: verified.signed_by().to_owned(),
    })
}

/// What is said of a packed form that was compared with its ONNX file.
pub(crate) fn describe_packed(model: &OpenedModel) -> String {
    match &model.packed {
        Some((stated, _)) => format!(
            "version {}, {} bytes, equal to the ONNX file",
            stated.format, stated.size
        ),
        None => "none".to_owned(),
    }
}

/// Opens a model of the store.
pub(crate) fn open_stored(stores: &Stores, label: &ModelLabel) -> Result<OpenedModel, Failure> {
    let artifacts = stores.artifacts()?.reader;
    let unwrapper = stores.keys()?.unwrapper;
    stores.wait(async {
        let trusted = stores.trusted_model_keys().await?;
        let files = read_stored(artifacts.as_ref(), label).await?;
        open_model(&files, label, &trusted, unwrapper.as_ref())
            .await
            .map_err(|failure| failure.while_doing(label).at(label.to_string()))
    })
}

/// Binds the model to its manifest, warms it up and reads its background, as a server does before it serves; then
/// [`check_packed`].
pub(crate) fn check_serves(model: &OpenedModel) -> Result<(), Failure> {
    let (manifest, onnx) = (&model.opened.manifest, &model.opened.onnx);
    let limits = LoadLimits::default();
    Scorer::new(manifest, Model::load(onnx, &limits)?)?;
    Explainer::bind(manifest, Form::Onnx, onnx, &limits)?;
    check_packed(model)
}

/// Packs the ONNX file anew and compares: what a function loads must be what was reviewed.
pub(crate) fn check_packed(model: &OpenedModel) -> Result<(), Failure> {
    let Some((stated, found)) = &model.packed else {
        return Ok(());
    };
    if stated.format != PACKED_FORMAT {
        let message = format!(
            "the packed form has version {}, and this program makes version {PACKED_FORMAT}: verify it with the \
             version that sealed it, or seal the model again",
            stated.format
        );
        return Err(Failure::refused("artifact.packed_format_unknown", message));
    }
    let expected = engine::pack(&model.opened.onnx, &LoadLimits::default())?;
    let differs = |what: String| {
        let message = format!("the packed form is not that of the ONNX file: {what}");
        Err(Failure::refused("artifact.packed_differs", message))
    };
    let Some(expected) = expected else {
        return differs("this model needs the graph engine and has none".to_owned());
    };
    let other = expected.iter().zip(found.iter()).position(|(a, b)| a != b);
    match other {
        Some(at) => differs(format!(
            "byte {at} is {:#04x} instead of {:#04x}",
            found[at], expected[at]
        )),
        None if expected.len() != found.len() => differs(format!(
            "{} bytes instead of {}",
            found.len(),
            expected.len()
        )),
        None => Ok(()),
    }
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

/// Reads the files of a model in the store, which must be there.
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

/// Reads the files of a folder.
pub(crate) fn read_folder(dir: &Path) -> Result<ArtifactFiles, Failure> {
    if !dir.is_dir() {
        let message = format!("{}: no such folder", dir.display());
        return Err(Failure::not_found("file.not_found", message).at(dir.display().to_string()));
    }
    Ok(ArtifactFiles {
        manifest: files::read(&dir.join(MANIFEST_FILE), MAX_MANIFEST_SIZE as u64)?,
        sealed: files::read(&dir.join(CONTAINER_FILE), MAX_CONTAINER_BYTES)?,
        packed: dir
            .join(PACKED_FILE)
            .exists()
            .then(|| files::read(&dir.join(PACKED_FILE), MAX_CONTAINER_BYTES))
            .transpose()?,
        bundle: files::read(&dir.join(SIGNATURE_FILE), MAX_BUNDLE_SIZE as u64)?,
        sidecar: files::read(&dir.join(SIDECAR_FILE), MAX_SIDECAR_SIZE as u64)?,
    })
}

/// Writes the files to a folder that is made for them: all or nothing. `check` sees them as they were
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
            let packed = files.packed.iter().map(|packed| (PACKED_FILE, packed));
            let others = [
                (MANIFEST_FILE, &files.manifest),
                (CONTAINER_FILE, &files.sealed),
                (SIGNATURE_FILE, &files.bundle),
                (SIDECAR_FILE, &files.sidecar),
            ];
            for (name, bytes) in others.into_iter().chain(packed) {
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
