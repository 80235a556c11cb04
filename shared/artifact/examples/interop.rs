//! Seals and opens with keys from the command line, for tests against other implementations.
//!
//! Keys on a command line are visible to others: this is no tool for real models.
//!
//! ```text
//! interop seal-container DATA_KEY SALT CONTEXT < plain > sealed
//! interop open-container DATA_KEY CONTEXT < sealed > plain
//! interop seal-artifact DIR MANIFEST ONNX DATA_KEY SALT SIGNING_KEY [PACKED PACKED_SALT]
//! interop wrap DIR KEY_ID WRAPPED_KEY
//! interop open-artifact DIR NAME VERSION DATA_KEY PUBLIC_KEY_PEM > onnx
//! interop open-packed DIR NAME VERSION DATA_KEY PUBLIC_KEY_PEM > packed
//! ```
//! Keys, salts and contexts are hexadecimal; `seal-artifact` writes the public key beside `DIR` as `DIR.pub.pem`.
//! A refusal ends with status 1 and the error's code on standard error.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use artifact::container;
use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::open::{Verified, verify};
use artifact::seal::PackedModel;
use artifact::{
    ArtifactFiles, Context, DataKey, Manifest, ModelName, ModelVersion, OpenError, PublicKey, Salt,
    Sidecar, TrustedKey, seal,
};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["seal-container", key, salt, context] => {
            let sealed = container::encrypt(
                &data_key(key)?,
                &read_salt(salt)?,
                &hex::decode(context)?,
                &read_input()?,
            );
            write_output(&sealed.map_err(|error| error.code())?)
        }
        ["open-container", key, context] => {
            let plain = container::decrypt(&data_key(key)?, &hex::decode(context)?, &read_input()?);
            write_output(&plain.map_err(|error| error.code())?)
        }
        ["seal-artifact", dir, manifest, onnx, key, salt, signing_key] => {
            let (manifest, onnx) = (Manifest::from_json(&fs::read(manifest)?)?, fs::read(onnx)?);
            let unsigned = seal::seal(manifest, &onnx, &data_key(key)?, &read_salt(salt)?)?;
            write_artifact(Path::new(dir), unsigned, signing_key)
        }
        ["seal-artifact", dir, manifest, onnx, key, salt, signing_key, packed, packed_salt] => {
            let (manifest, onnx) = (Manifest::from_json(&fs::read(manifest)?)?, fs::read(onnx)?);
            let packed = PackedModel {
                format: 1,
                bytes: &fs::read(packed)?,
                salt: read_salt(packed_salt)?,
            };
            let key = data_key(key)?;
            let unsigned = seal::seal_packed(manifest, &onnx, packed, &key, &read_salt(salt)?)?;
            write_artifact(Path::new(dir), unsigned, signing_key)
        }
        ["wrap", dir, key_id, wrapped_key] => {
            let dir = Path::new(dir);
            let manifest = Manifest::from_json(&fs::read(dir.join(MANIFEST_FILE))?)?;
            let sha256 = manifest
                .model
                .ok_or("the manifest is not that of a sealed model")?
                .sha256;
            let context = Context {
                model: manifest.name,
                version: manifest.version,
                sha256,
            };
            let sidecar = Sidecar {
                context,
                key_id: (*key_id).to_owned(),
                wrapped_key: hex::decode(wrapped_key)?,
            };
            fs::write(dir.join(SIDECAR_FILE), sidecar.to_json()?)?;
            Ok(())
        }
        ["open-artifact", dir, name, version, key, public_key] => {
            let key = data_key(key)?;
            let opened = open_with(dir, [name, version], public_key, |verified| {
                Ok(verified.open(&key)?.onnx)
            });
            write_output(&opened?)
        }
        ["open-packed", dir, name, version, key, public_key] => {
            let key = data_key(key)?;
            let opened = open_with(dir, [name, version], public_key, |verified| {
                verified.open_packed(&key)
            });
            write_output(&opened?)
        }
        _ => Err(
            "expected one of seal-container, open-container, seal-artifact, wrap, open-artifact, open-packed"
                .into(),
        ),
    }
}

/// Signs and writes an artifact, and the public key beside it.
fn write_artifact(dir: &Path, unsigned: seal::UnsignedArtifact, signing_key: &str) -> Outcome {
    let signer = SigningKey::from_slice(&hex::decode(signing_key)?)?;
    let pem = signer.verifying_key().to_public_key_pem(LineEnding::LF)?;
    let der: DerSignature = signer.sign(unsigned.pae());
    let artifact = unsigned.sign(der.as_bytes(), &PublicKey::from_pem(&pem)?)?;
    fs::create_dir_all(dir)?;
    fs::write(dir.join(MANIFEST_FILE), &artifact.manifest_json)?;
    fs::write(dir.join(CONTAINER_FILE), &artifact.sealed)?;
    if let Some(packed) = &artifact.packed {
        fs::write(dir.join(PACKED_FILE), packed)?;
    }
    fs::write(dir.join(SIGNATURE_FILE), &artifact.bundle)?;
    fs::write(dir.with_added_extension("pub.pem"), pem)?;
    Ok(())
}

/// Verifies an artifact as a name and version, and opens one of its containers.
fn open_with<T>(
    dir: &str,
    [name, version]: [&str; 2],
    public_key: &str,
    open: impl FnOnce(Verified<'_>) -> Result<T, OpenError>,
) -> Outcome<T> {
    let dir = Path::new(dir);
    let (manifest_json, sealed, bundle) = (
        fs::read(dir.join(MANIFEST_FILE))?,
        fs::read(dir.join(CONTAINER_FILE))?,
        fs::read(dir.join(SIGNATURE_FILE))?,
    );
    let packed = fs::read(dir.join(PACKED_FILE)).ok();
    let files = ArtifactFiles {
        manifest_json: &manifest_json,
        sealed: Some(&sealed),
        packed: packed.as_deref(),
        bundle: &bundle,
    };
    let expected = (ModelName::parse(name)?, ModelVersion::parse(version)?);
    let trusted = TrustedKey::always(PublicKey::from_pem(&fs::read_to_string(public_key)?)?);
    let opened = verify(files, &expected, &[trusted], 0).and_then(|verified| {
        if let Ok(key_json) = fs::read(dir.join(SIDECAR_FILE)) {
            verified.check_sidecar(&Sidecar::from_json(&key_json).map_err(OpenError::from)?)?;
        }
        open(verified)
    });
    Ok(opened.map_err(|error| error.code())?)
}

fn data_key(text: &str) -> Outcome<DataKey> {
    Ok(DataKey::from_slice(&hex::decode(text)?)?)
}

fn read_salt(text: &str) -> Outcome<Salt> {
    let mut salt = Salt([0; 24]);
    hex::decode_to_slice(text, &mut salt.0)?;
    Ok(salt)
}

fn read_input() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_output(bytes: &[u8]) -> Outcome {
    std::io::stdout().write_all(bytes)?;
    Ok(())
}
