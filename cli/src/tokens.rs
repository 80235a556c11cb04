//! The file of bearer tokens that the local server reads: `DATA/tokens.json`. It holds digests, never tokens.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{PrincipalId, Role, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::files;

const TOKENS_FILE: &str = "tokens.json";
const LOCK_FILE: &str = "tokens.lock";
const MAX_TOKENS_FILE: u64 = 16 << 20;

/// The version tag of the file's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum TokensFormat {
    #[serde(rename = "sealcast.tokens/v1")]
    V1,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensFile {
    format: TokensFormat,
    tokens: Vec<Token>,
}

/// One token, as far as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// SHA-256 of the token's text.
    pub(crate) sha256: Sha256Digest,
    /// Who presents it.
    pub(crate) principal: PrincipalId,
    /// What they may do.
    pub(crate) roles: BTreeSet<Role>,
}

/// Makes a token of 32 random bytes, writes it to `out` (0600) and its digest to the data directory.
pub(crate) fn create_token(
    data: &Path,
    principal: PrincipalId,
    roles: BTreeSet<Role>,
    out: &Path,
) -> Result<Token, Failure> {
    let raw = URL_SAFE_NO_PAD.encode(files::random::<32>()?);
    let token = Token {
        sha256: Sha256Digest::of(raw.as_bytes()),
        principal,
        roles,
    };
    let _lock = lock(data)?;
    let mut stored = read(data)?;
    stored.push(token.clone());
    files::create_private(out, format!("{raw}\n").as_bytes())?;
    write(data, stored).inspect_err(|_| {
        // A token that the server does not know is of no use.
        let _ = std::fs::remove_file(out);
    })?;
    Ok(token)
}

/// The tokens of a data directory, in the order in which they were made.
pub(crate) fn list_tokens(data: &Path) -> Result<Vec<Token>, Failure> {
    read(data)
}

/// Removes every token of a principal; gives how many there were.
pub(crate) fn revoke_tokens(data: &Path, principal: &PrincipalId) -> Result<usize, Failure> {
    let _lock = lock(data)?;
    let mut stored = read(data)?;
    let before = stored.len();
    stored.retain(|token| token.principal != *principal);
    let revoked = before - stored.len();
    if revoked == 0 {
        let message = format!("principal {:?} has no token", principal.as_str());
        return Err(Failure::not_found("token.not_found", message).at("--principal"));
    }
    write(data, stored)?;
    Ok(revoked)
}

fn path(data: &Path) -> PathBuf {
    data.join(TOKENS_FILE)
}

/// Held while the file is read and replaced, so that no other process's token is lost.
fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join(LOCK_FILE);
    let fail = |error: std::io::Error| Failure::file("lock", &path, &error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn read(data: &Path) -> Result<Vec<Token>, Failure> {
    let path = path(data);
    let exists = path
        .try_exists()
        .map_err(|error| Failure::file("read", &path, &error))?;
    if !exists {
        return Ok(Vec::new());
    }
    let bytes = files::read(&path, MAX_TOKENS_FILE)?;
    let file: TokensFile = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("{}: expected sealcast.tokens/v1: {error}", path.display());
        Failure::refused("token.file_malformed", message).at(path.display().to_string())
    })?;
    Ok(file.tokens)
}

fn write(data: &Path, tokens: Vec<Token>) -> Result<(), Failure> {
    let file = TokensFile {
        format: TokensFormat::V1,
        tokens,
    };
    let mut bytes = serde_json::to_vec_pretty(&file)
        .map_err(|error| Failure::internal(format!("tokens: {error}")))?;
    bytes.push(b'\n');
    files::replace_private(&path(data), &bytes)
}
