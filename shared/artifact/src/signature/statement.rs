//! The in-toto statement: which files have which digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bundle::MAX_BUNDLE_SIZE;
use super::{SignError, SignatureError};
use crate::ids::Sha256Digest;
use crate::json::{self, JsonError};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const METHOD: &str = "files";
const ALGORITHM: &str = "sha256";

/// What a verified bundle vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What the signer called the whole; informative only.
    pub subject: String,
    /// One digest of all files: SHA-256 over their digests, in the order of [`Statement::resources`].
    pub digest: Sha256Digest,
    /// The files, sorted by path, each once.
    pub resources: Vec<Resource>,
    /// Hint of the key that signed.
    pub signed_by: String,
}

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Relative path, with `/` between names.
    pub name: String,
    /// SHA-256 of the file's bytes.
    pub digest: Sha256Digest,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

/// Fields that are unknown here are for other readers; version 1.0 of the predicate says to leave them alone.
#[derive(Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<StoredResource>,
}

#[derive(Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredResource {
    name: String,
    algorithm: String,
    digest: Sha256Digest,
}

/// The part of a statement that says what kind it is, read before the rest.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    statement: String,
    #[serde(rename = "predicateType")]
    predicate: String,
}

pub(super) fn write(
    subject: &str,
    files: &[(&str, Sha256Digest)],
    ignored: &[&str],
) -> Result<Vec<u8>, SignError> {
    if files.is_empty() {
        return Err(SignError::FileName {
            name: String::new(),
        });
    }
    let mut resources = Vec::with_capacity(files.len());
    for (name, digest) in files {
        if !is_relative_path(name) {
            return Err(SignError::FileName {
                name: (*name).to_owned(),
            });
        }
        resources.push(Resource {
            name: (*name).to_owned(),
            digest: *digest,
        });
    }
    resources.sort_by(|a, b| path_order(&a.name, &b.name));
    if let Some([repeated, _]) = resources.array_windows().find(|[a, b]| a.name == b.name) {
        return Err(SignError::FileName {
            name: repeated.name.clone(),
        });
    }
    let stored = Stored {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject {
            name: subject.to_owned(),
            digest: BTreeMap::from([(ALGORITHM.to_owned(), digest_all(&resources).to_string())]),
        }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            serialization: Serialization {
                method: METHOD.to_owned(),
                hash_type: ALGORITHM.to_owned(),
                allow_symlinks: false,
                ignore_paths: ignored.iter().map(|path| (*path).to_owned()).collect(),
            },
            resources: resources
                .into_iter()
                .map(|Resource { name, digest }| StoredResource {
                    name,
                    algorithm: ALGORITHM.to_owned(),
                    digest,
                })
                .collect(),
        },
    };
    serde_json_canonicalizer::to_vec(&stored).map_err(|error| {
        SignError::Json(JsonError::Malformed {
            path: ".".to_owned(),
            reason: error.to_string(),
        })
    })
}

/// Reads the payload of an envelope whose signature has been verified.
pub(super) fn read(payload: &[u8], signed_by: String) -> Result<Statement, SignatureError> {
    let in_statement = |error: JsonError| match error {
        JsonError::Malformed { path, reason } => wrong(path, reason),
        too_large @ JsonError::TooLarge { .. } => wrong(".", too_large.to_string()),
    };
    let kind: Kind = json::read(payload, MAX_BUNDLE_SIZE).map_err(in_statement)?;
    if kind.statement != STATEMENT_TYPE {
        return Err(wrong("_type", STATEMENT_TYPE));
    }
    if kind.predicate != PREDICATE_TYPE {
        return Err(SignatureError::Predicate {
            found: kind.predicate.chars().take(80).collect(),
        });
    }
    let stored: Stored = json::read(payload, MAX_BUNDLE_SIZE).map_err(in_statement)?;
    let serialization = stored.predicate.serialization;
    if serialization.method != METHOD {
        return Err(wrong("predicate.serialization.method", METHOD));
    }
    if serialization.hash_type != ALGORITHM {
        return Err(wrong("predicate.serialization.hash_type", ALGORITHM));
    }
    let mut resources: Vec<Resource> = Vec::with_capacity(stored.predicate.resources.len());
    for (
        i,
        StoredResource {
            name,
            algorithm,
            digest,
        },
    ) in stored.predicate.resources.into_iter().enumerate()
    {
        if algorithm != ALGORITHM {
            return Err(wrong(
                format!("predicate.resources[{i}].algorithm"),
                ALGORITHM,
            ));
        }
        if !is_relative_path(&name) {
            return Err(wrong(
                format!("predicate.resources[{i}].name"),
                "a relative path",
            ));
        }
        if resources
            .last()
            .is_some_and(|last| path_order(&last.name, &name).is_ge())
        {
            return Err(wrong(
                format!("predicate.resources[{i}].name"),
                "names in order, each once",
            ));
        }
        resources.push(Resource { name, digest });
    }
    let digest = digest_all(&resources);
    match stored.subject.as_slice() {
        [subject] if subject.digest.get(ALGORITHM) == Some(&digest.to_string()) => Ok(Statement {
            subject: subject.name.clone(),
            digest,
            resources,
            signed_by,
        }),
        [_] => Err(wrong(
            "subject[0].digest.sha256",
            "the SHA-256 of the resources' digests",
        )),
        _ => Err(wrong("subject", "exactly one subject")),
    }
}

fn wrong(field: impl Into<String>, expected: impl Into<String>) -> SignatureError {
    SignatureError::Statement {
        field: field.into(),
        expected: expected.into(),
    }
}

/// SHA-256 over the digests in their order: what the statement's subject is.
fn digest_all(resources: &[Resource]) -> Sha256Digest {
    let mut hash = Sha256::new();
    for resource in resources {
        hash.update(resource.digest.0);
    }
    Sha256Digest(hash.finalize().into())
}

fn is_relative_path(name: &str) -> bool {
    !name.contains(['\\', '\0']) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Paths compare name by name, so that a folder's files stand together.
fn path_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').cmp(b.split('/'))
}
