//! The files that keys stand in.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::StoreError;
use domain::ports::Entropy;
use domain::system::SystemEntropy;
use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
use zeroize::Zeroizing;

use super::master::MasterKey;
use super::signers::{Ed25519Signer, P256Signer};
use super::{LOG_KEY, MODEL_KEY, Masters, STREAM_KEY, private_path, public_path};
use crate::durable;
use crate::error::OpenError;

const MAX_KEY_FILE_BYTES: u64 = 64 << 10;
const REMEDY: &str = "create the keys first, or name the directory that holds them";

/// Creates `dir` with one key of each kind.
pub(super) fn create_all(dir: &Path) -> Result<(), OpenError> {
    durable::create_dir(dir).map_err(OpenError::io("create", dir))?;
    let encode = |reason: String| {
        OpenError::malformed(dir, format!("a fresh key has no PEM form: {reason}"))
    };

    let key = generate_p256(dir)?;
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| encode(error.to_string()))?;
    let signer = P256Signer::from_pem(&pem).map_err(encode)?;
    write(&private_path(dir, MODEL_KEY), pem.as_bytes())?;
    write(&public_path(dir, MODEL_KEY), signer.public_pem().as_bytes())?;

    create_ed25519(dir, STREAM_KEY)?;
    create_ed25519(dir, LOG_KEY)?;
    add_master_numbered(dir, 1)?;
    durable::sync_dir(dir).map_err(OpenError::io("sync", dir))
}

/// The public half comes first: what is left of an attempt that was interrupted is no private key without it.
fn create_ed25519(dir: &Path, name: &str) -> Result<(), OpenError> {
    let encode = |reason: String| {
        OpenError::malformed(dir, format!("a fresh key has no PEM form: {reason}"))
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&*random(dir)?);
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| encode(error.to_string()))?;
    let signer = Ed25519Signer::from_pem(&pem).map_err(encode)?;
    let public = public_path(dir, name);
    write(&public, signer.public_pem().as_bytes())?;
    write(&private_path(dir, name), pem.as_bytes())
}

/// Adds the key that signs checkpoints, if there is none.
pub(super) fn add_log_key(dir: &Path) -> Result<(), OpenError> {
    let private = private_path(dir, LOG_KEY);
    if private.try_exists().map_err(missing(&private))? {
        return Ok(());
    }
    let public = public_path(dir, LOG_KEY);
    match std::fs::remove_file(&public) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", &public)(error));
        }
        _ => {}
    }
    create_ed25519(dir, LOG_KEY)?;
    durable::sync_dir(dir).map_err(OpenError::io("sync", dir))
}

fn random(dir: &Path) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemEntropy
        .fill(bytes.as_mut_slice())
        .map_err(|error| no_key(dir, error))?;
    Ok(bytes)
}

fn no_key(dir: &Path, error: StoreError) -> OpenError {
    OpenError::io("make a key for", dir)(io::Error::other(error))
}

/// A key from random bytes; the few that are no P-256 scalar are drawn again.
fn generate_p256(dir: &Path) -> Result<p256::ecdsa::SigningKey, OpenError> {
    loop {
        if let Ok(key) = p256::ecdsa::SigningKey::from_slice(random(dir)?.as_slice()) {
            return Ok(key);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    durable::create_file(path, bytes)
        .map(|_| ())
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::Exists(path.to_owned()),
            _ => OpenError::io("create", path)(error),
        })
}

/// Adds a master key after the last one; gives its id.
pub(super) fn add_master(dir: &Path) -> Result<String, OpenError> {
    let last = read_masters(dir)?.last_number;
    let id = add_master_numbered(dir, last + 1)?;
    durable::sync_dir(dir).map_err(OpenError::io("sync", dir))?;
    Ok(id)
}

fn add_master_numbered(dir: &Path, number: u32) -> Result<String, OpenError> {
    let (master, file) = MasterKey::create().map_err(|error| no_key(dir, error))?;
    write(&dir.join(format!("master-{number:04}.json")), &file)?;
    Ok(master.id().to_owned())
}

/// All master keys by their ids, and which one is the last.
pub(super) struct ReadMasters {
    pub(super) masters: Masters,
    pub(super) last_number: u32,
}

fn list(dir: &Path) -> Result<Vec<String>, OpenError> {
    let refuse = || {
        |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing {
                path: dir.to_owned(),
                remedy: REMEDY,
            },
            _ => OpenError::io("list", dir)(error),
        }
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(refuse())? {
        names.extend(entry.map_err(refuse())?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn master_number(name: &str) -> Option<u32> {
    name.strip_prefix("master-")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

pub(super) fn read_masters(dir: &Path) -> Result<ReadMasters, OpenError> {
    let mut keys = BTreeMap::new();
    let mut last: Option<(u32, String)> = None;
    for name in list(dir)? {
        let Some(number) = master_number(&name) else {
            continue;
        };
        let path = dir.join(name);
        let key = MasterKey::from_file(&read_secret(&path)?)
            .map_err(|reason| OpenError::malformed(&path, reason))?;
        last = last.max(Some((number, key.id().to_owned())));
        keys.insert(key.id().to_owned(), key);
    }
    let Some((last_number, newest)) = last else {
        return Err(OpenError::Missing {
            path: dir.join("master-0001.json"),
            remedy: REMEDY,
        });
    };
    Ok(ReadMasters {
        masters: Masters { keys, newest },
        last_number,
    })
}

/// Reads a file that nobody else may have access to.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, OpenError> {
    let mode = path.metadata().map_err(missing(path))?.permissions().mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(OpenError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    read_text(path)
}

fn missing(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing {
            path: path.to_owned(),
            remedy: REMEDY,
        },
        _ => OpenError::io("read", path)(error),
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, OpenError> {
    let bytes = durable::read_file(path, MAX_KEY_FILE_BYTES).map_err(missing(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        OpenError::malformed(path, "expected text")
    })?;
    Ok(Zeroizing::new(text))
}

/// Reads `NAME.pub.pem` and every `NAME.*.pub.pem`.
pub(super) fn read_public<T>(
    dir: &Path,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, OpenError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for file in list(dir)? {
        let middle = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_suffix(".pub.pem"));
        if middle.is_some_and(|middle| middle.is_empty() || middle.starts_with('.')) {
            paths.push(dir.join(file));
        }
    }
    let mut keys = Vec::with_capacity(paths.len());
    for path in paths {
        let key =
            parse(&read_text(&path)?).map_err(|reason| OpenError::malformed(&path, reason))?;
        keys.push(key);
    }
    Ok(keys)
}
