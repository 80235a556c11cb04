//! Which keys make a log's checkpoint trusted, and where they came from.

use std::path::{Path, PathBuf};

use audit::PublicKey;
use audit::checkpoint::{Checkpoint, OpenCheckpointError, TrustedLog};
use audit::note::{SignatureKind, VerifierKey, VerifyNoteError};
use base64::Engine as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::files;
use crate::sealed_log::Source;
use crate::stream_file;

const MAX_KEY_FILE: u64 = 64 << 10;
const PEM: &str = "-----BEGIN";
/// Route of the key that a server says is its log's.
const KEY_ROUTE: &str = "/v1/audit/log.vkey";

/// What makes a checkpoint trusted.
#[derive(Debug, Args)]
pub(crate) struct TrustArguments {
    /// A key that is trusted: the file of the log's verifier key (`name+id+base64`), or, to verify whole logs and
    /// streams, of a registration key (Ed25519, SPKI, PEM; of a key service ID=FILE). Bring it along: a key that the
    /// server or the store itself gives proves only consistency. Repeatable.
    #[arg(long = "key", value_name = "log.vkey|[ID=]PUB.pem")]
    pub(crate) keys: Vec<String>,
    /// The file of a witness's verifier key; its cosignature is asked for. Repeatable.
    #[arg(long = "witness", value_name = "FILE")]
    witnesses: Vec<PathBuf>,
    /// How many of the witnesses must have cosigned; without it, all.
    #[arg(long, value_name = "N", requires = "witnesses")]
    quorum: Option<usize>,
    /// The log's origin, where it is not its key's name.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

/// Where the log's key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyFrom {
    /// From files that were given.
    Given,
    /// From the store that keeps the log.
    Store,
    /// From the server that serves the log.
    Server,
    /// From nowhere.
    Nowhere,
}

impl KeyFrom {
    /// What registration keys are good for that nobody brought.
    pub(crate) fn registrar_caveat(self) -> Option<&'static str> {
        (self == Self::Store).then_some(
            "the registration key was taken from the store itself: this proves only consistency",
        )
    }

    /// What such a key is good for; nothing where it is good for all.
    pub(crate) fn caveat(self) -> Option<&'static str> {
        match self {
            Self::Given => None,
            Self::Store => {
                Some("the key was taken from the store itself: this proves only consistency")
            }
            Self::Server => Some("the key was taken from the server: this proves only consistency"),
            Self::Nowhere => Some("no key was given: --key log.vkey"),
        }
    }
}

/// The keys of a run.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// The log's; none where no key is known.
    pub(crate) log: Option<TrustedLog>,
    /// Where the log's key came from.
    pub(crate) from: KeyFrom,
    /// Registration keys: (id, key).
    pub(crate) registrars: Vec<(String, PublicKey)>,
    /// Where the registration keys came from.
    pub(crate) registrars_from: KeyFrom,
}

impl TrustArguments {
    /// The keys that were given.
    pub(crate) fn read(&self) -> Result<Trust, Failure> {
        let (mut keys, mut registrars) = (Vec::new(), Vec::new());
        for given in &self.keys {
            match read_verifier(Path::new(given)) {
                Ok(Some(key)) => keys.push(key),
                Err(failure) if Path::new(given).exists() => return Err(failure),
                Ok(None) | Err(_) => {
                    registrars.extend(stream_file::read_keys(std::slice::from_ref(given))?);
                }
            }
        }
        let from = |none: bool| {
            if none {
                KeyFrom::Nowhere
            } else {
                KeyFrom::Given
            }
        };
        Ok(Trust {
            from: from(keys.is_empty()),
            log: self.trusted(keys)?,
            registrars_from: from(registrars.is_empty()),
            registrars,
        })
    }

    /// The registration keys that were given, for a stream; it has no checkpoint that the other options are about.
    pub(crate) fn read_of_stream(&self) -> Result<Vec<(String, PublicKey)>, Failure> {
        let others = [
            ("--witness", !self.witnesses.is_empty()),
            ("--origin", self.origin.is_some()),
        ];
        if let Some((option, _)) = others.iter().find(|(_, given)| *given) {
            let message = format!(
                "{option}: a stream has no checkpoint; it goes with --log, --server or --proof"
            );
            return Err(Failure::usage(option, message));
        }
        stream_file::read_keys(&self.keys)
    }

    /// The keys that were given, else those that the source itself has: the report says so.
    pub(crate) fn read_for(&self, source: &Source) -> Result<Trust, Failure> {
        let mut trust = self.read()?;
        if trust.log.is_none() {
            let (keys, from) = match source {
                Source::Folder(_) => (Vec::new(), KeyFrom::Nowhere),
                Source::Api(client) => {
                    let fetched = client.get(KEY_ROUTE, MAX_KEY_FILE)?;
                    let text = String::from_utf8_lossy(&fetched.body).into_owned();
                    let place = format!("{}{KEY_ROUTE}", client.address());
                    (vec![parse_verifier(&text, &place)?], KeyFrom::Server)
                }
                Source::Store(stores, _) => (
                    stores.wait(stores.trusted_log_keys(self.origin.as_deref()))?,
                    KeyFrom::Store,
                ),
            };
            trust.log = self.trusted(keys)?;
            if trust.log.is_some() {
                trust.from = from;
            }
        }
        Ok(trust)
    }

    fn trusted(&self, keys: Vec<VerifierKey>) -> Result<Option<TrustedLog>, Failure> {
        let Some(first) = keys.first() else {
            return Ok(None);
        };
        if let Some(witness) = keys
            .iter()
            .find(|key| key.kind() == SignatureKind::Cosignature)
        {
            let message = format!(
                "{}: a witness's key: give it with --witness",
                witness.name()
            );
            return Err(Failure::usage("--key", message));
        }
        let origin = match &self.origin {
            Some(origin) => origin.clone(),
            None if keys.iter().all(|key| key.name() == first.name()) => first.name().to_string(),
            None => {
                let message = "the keys have several names: say with --origin which log it is";
                return Err(Failure::usage("--origin", message));
            }
        };
        let witnesses = self
            .witnesses
            .iter()
            .map(|path| {
                let key =
                    read_verifier(path)?.filter(|key| key.kind() == SignatureKind::Cosignature);
                key.ok_or_else(|| {
                    let message = format!(
                        "{}: expected a witness's key (signature type 0x04)",
                        path.display()
                    );
                    Failure::usage("--witness", message)
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let quorum = self.quorum.unwrap_or(witnesses.len());
        if quorum > witnesses.len() {
            let message = format!(
                "--quorum {quorum}: only {} witnesses are given",
                witnesses.len()
            );
            return Err(Failure::usage("--quorum", message));
        }
        Ok(Some(TrustedLog {
            origin,
            keys,
            witnesses,
            quorum,
        }))
    }
}

/// A verifier key of a file; `None` where the file is one of a PEM key.
fn read_verifier(path: &Path) -> Result<Option<VerifierKey>, Failure> {
    let text = files::read_text(path, MAX_KEY_FILE)?;
    if text.trim_start().starts_with(PEM) {
        return Ok(None);
    }
    parse_verifier(&text, &path.display().to_string()).map(Some)
}

fn parse_verifier(text: &str, place: &str) -> Result<VerifierKey, Failure> {
    VerifierKey::parse(text.trim()).map_err(|error| {
        let message = format!("{place}: {error}");
        Failure::refused("audit.key_malformed", message).at(place)
    })
}

/// A checkpoint, and what is known about its signatures.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// What it says.
    pub(crate) checkpoint: Checkpoint,
    /// Names of the trusted keys that signed; none where no key is known.
    pub(crate) signers: Vec<String>,
}

impl Trust {
    /// Reads a checkpoint and verifies its signatures, where a key is known.
    pub(crate) fn open(&self, note: &[u8]) -> Result<Opened, OpenCheckpointError> {
        let Some(log) = &self.log else {
            let note = audit::note::SignedNote::parse(note)?;
            return Ok(Opened {
                checkpoint: Checkpoint::parse(note.text())?,
                signers: Vec::new(),
            });
        };
        let (checkpoint, signers) = log.open(note)?;
        let signers = signers.iter().map(ToString::to_string).collect();
        Ok(Opened {
            checkpoint,
            signers,
        })
    }

    /// Adds the registration keys that the source itself has, where none is given.
    pub(crate) fn add_registrars_of(&mut self, source: &Source) -> Result<(), Failure> {
        if let (true, Source::Store(stores, _)) = (self.registrars.is_empty(), source) {
            self.registrars = stores.wait(stores.trusted_stream_keys())?;
            self.registrars_from = KeyFrom::Store;
        }
        Ok(())
    }

    /// The log's trusted keys, which there must be.
    pub(crate) fn require(&self) -> Result<&TrustedLog, Failure> {
        self.log.as_ref().ok_or_else(|| {
            let message = "whose signature counts? give the log's verifier key with --key, a file with the one line \
                           that `sealcast key show log` prints; a key in PEM registers streams";
            Failure::usage("--key", message)
        })
    }
}

impl Opened {
    /// For machines.
    pub(crate) fn to_json(&self, from: KeyFrom) -> serde_json::Value {
        json!({
            "origin": self.checkpoint.origin,
            "size": self.checkpoint.size,
            "root": encode_root(&self.checkpoint.root),
            "signature_verified": !self.signers.is_empty(),
            "signed_by": self.signers,
            "key_from": from,
        })
    }
}

/// The failure that a checkpoint is, which is not to be trusted.
pub(crate) fn describe_open_error(error: &OpenCheckpointError) -> Failure {
    let code = match error {
        OpenCheckpointError::Note(_) | OpenCheckpointError::Text { .. } => {
            "audit.checkpoint_malformed"
        }
        OpenCheckpointError::OtherOrigin { .. } => "audit.log_origin_differs",
        OpenCheckpointError::Verify(VerifyNoteError::Signature(_)) => {
            "audit.checkpoint_signature_invalid"
        }
        OpenCheckpointError::Verify(_) | OpenCheckpointError::NotByLog => {
            "audit.checkpoint_not_signed"
        }
        OpenCheckpointError::Witnesses { .. } => "audit.checkpoint_not_cosigned",
    };
    Failure::refused(code, error.to_string())
}

/// A root as a checkpoint writes it.
pub(crate) fn encode_root(root: &[u8; 32]) -> String {
    base64::engine::general_purpose::STANDARD.encode(root)
}
