//! Local principals: bearer tokens, of which the token file keeps only hashes.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use domain::{Principal, PrincipalId, Role, Sha256Digest};
use http::header;
use serde::Deserialize;
use web::AuthFailure;

/// The token file, as `sealcast token` writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[expect(dead_code, reason = "an unknown format must not parse")]
    format: TokenFormat,
    tokens: Vec<TokenRow>,
}

#[derive(Debug, Deserialize)]
enum TokenFormat {
    #[serde(rename = "sealcast.tokens/v1")]
    V1,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRow {
    sha256: Sha256Digest,
    principal: PrincipalId,
    roles: BTreeSet<Role>,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("{path}: {cause}")]
    Read {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("{path}: {cause}")]
    Parse {
        path: PathBuf,
        cause: serde_json::Error,
    },
    #[error("{path}: mode {mode:o} lets others read it; expected 600")]
    Mode { path: PathBuf, mode: u32 },
}

/// The principals that hold a token.
pub(crate) struct Tokens {
    path: PathBuf,
    /// When the file had last been written as it was opened.
    opened: Option<SystemTime>,
    known: ArcSwap<Known>,
}

/// Who is known, by which file.
#[derive(Debug, Default)]
struct Known {
    principals: HashMap<Sha256Digest, Principal>,
    /// Of the file's bytes; none where there is no file, or none that can be used.
    digest: Option<Sha256Digest>,
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
}

impl Tokens {
    /// Reads the token file; without one nobody is known.
    pub(crate) fn open(path: &Path) -> Result<Self, TokenFileError> {
        // Before the file is read: a change in between is then seen as one.
        let opened = modified(path);
        let known = ArcSwap::from_pointee(read(path)?);
        Ok(Self {
            path: path.to_owned(),
            opened,
            known,
        })
    }

    /// When the file was last written as it was opened.
    pub(crate) fn opened(&self) -> Option<SystemTime> {
        self.opened
    }

    /// When the file was last written.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        modified(&self.path)
    }

    /// Reads the file again; a file that cannot be used leaves nobody known.
    pub(crate) fn reload(&self) -> Result<(), TokenFileError> {
        let read = read(&self.path);
        let (known, result) = match read {
            Ok(known) => (known, Ok(())),
            Err(error) => (Known::default(), Err(error)),
        };
        self.known.store(Arc::new(known));
        result
    }

    /// Who is let in, as it is recorded: how many tokens, and the digest of their file, but no token.
    pub(crate) fn summary(&self) -> String {
        let known = self.known.load();
        match known.digest {
            None => "nobody is known".to_owned(),
            Some(digest) => {
                let count = known.principals.len();
                format!("tokens: {count}, SHA-256 of the file: {digest}")
            }
        }
    }

    fn find(&self, token: &str) -> Option<Principal> {
        self.known
            .load()
            .principals
            .get(&Sha256Digest::of(token.as_bytes()))
            .cloned()
    }
}

fn read(path: &Path) -> Result<Known, TokenFileError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |cause| TokenFileError::Read {
        path: path.to_owned(),
        cause,
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Known::default()),
        Err(cause) => return Err(failed(cause)),
    };
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let file: TokenFile =
        serde_json::from_slice(&bytes).map_err(|cause| TokenFileError::Parse {
            path: path.to_owned(),
            cause,
        })?;
    let principal = |row: TokenRow| {
        (
            row.sha256,
            Principal {
                id: row.principal,
                roles: row.roles,
            },
        )
    };
    Ok(Known {
        principals: file.tokens.into_iter().map(principal).collect(),
        digest: Some(Sha256Digest::of(&bytes)),
    })
}

/// Puts the principal into the request, or the fact that the credentials are not valid.
pub(crate) async fn authenticate(
    State(tokens): State<Arc<Tokens>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        match token.and_then(|token| tokens.find(token)) {
            Some(principal) => request.extensions_mut().insert(principal).is_some(),
            None => request.extensions_mut().insert(AuthFailure).is_some(),
        };
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn valid() -> String {
        format!(
            r#"{{"format":"sealcast.tokens/v1","tokens":[{{"sha256":"{}","principal":"desk","roles":["predictor"]}}]}}"#,
            Sha256Digest::of(b"secret")
        )
    }

    #[test]
    fn a_token_is_found_by_its_hash() {
        let (_dir, path) = file(&valid(), 0o600);
        let tokens = Tokens::open(&path).unwrap();
        assert!(tokens.find("secret").unwrap().has(Role::Predictor));
        assert_eq!(tokens.find("Secret"), None);
    }

    #[test]
    fn the_summary_names_the_file_and_no_token() {
        let (_dir, path) = file(&valid(), 0o600);
        let tokens = Tokens::open(&path).unwrap();
        let digest = Sha256Digest::of(valid().as_bytes());
        let summary = format!("tokens: 1, SHA-256 of the file: {digest}");
        assert_eq!(tokens.summary(), summary);
        std::fs::remove_file(&path).unwrap();
        tokens.reload().unwrap();
        assert_eq!(tokens.summary(), "nobody is known");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_not_understood_lets_nobody_in() {
        let (_dir, path) = file(&valid(), 0o644);
        assert!(matches!(
            Tokens::open(&path),
            Err(TokenFileError::Mode { mode: 0o644, .. })
        ));
        let (_dir, path) = file(&valid(), 0o600);
        let tokens = Tokens::open(&path).unwrap();
        std::fs::write(&path, valid().replace("roles", "rolls")).unwrap();
        assert!(tokens.reload().is_err());
        assert_eq!(tokens.find("secret"), None);
    }
}
