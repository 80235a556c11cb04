//! As of which tree answers are given: the newest checkpoint that was published, once the log's key is seen to have
//! signed it.

use audit::checkpoint::{Checkpoint, TrustedLog};
use audit::note::{KeyName, SignedNote, VerifierKey};
use audit::tree::empty_root;
use domain::StoreError;
use http::StatusCode;
use web::ApiError;

use crate::function::{AuditQuery, Held};

/// The head of the log.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Origin, size and root; the empty tree before the first checkpoint.
    pub(crate) checkpoint: Checkpoint,
    /// The checkpoint as it was published; none before the first.
    pub(crate) note: Option<SignedNote>,
}

impl AuditQuery {
    /// The head of the log. A checkpoint that its key did not sign is none, and nothing is answered as of it.
    pub(crate) async fn head(&self) -> Result<Head, ApiError> {
        let published = self.ask("checkpoint", self.ports.log.checkpoint()).await?;
        let bytes = match published {
            Held::Found(Some(bytes)) => bytes,
            Held::Found(None) | Held::Missing => {
                let checkpoint = Checkpoint {
                    origin: self.origin.clone(),
                    size: 0,
                    root: empty_root(),
                };
                let note = None;
                return Ok(Head { checkpoint, note });
            }
            Held::Unreadable(why) => return Err(self.invalid_checkpoint(why).await),
        };
        let key = self.log_key().await?.clone();
        let keys = [vec![key], self.earlier_keys.clone()].concat();
        let opened = TrustedLog::by_keys(&self.origin, keys)
            .open(&bytes)
            .map_err(|error| error.to_string());
        let parsed = opened.and_then(|(checkpoint, _)| {
            let note = SignedNote::parse(&bytes).map_err(|error| error.to_string())?;
            Ok((checkpoint, note))
        });
        match parsed {
            Ok((checkpoint, note)) => Ok(Head {
                checkpoint,
                note: Some(note),
            }),
            Err(why) => Err(self.invalid_checkpoint(why).await),
        }
    }

    /// The public key of the log; asked for once.
    pub(crate) async fn log_key(&self) -> Result<&VerifierKey, ApiError> {
        let ask = async {
            let pem = self.ask("log key", self.ports.log_key.public_key_pem());
            let Held::Found(pem) = pem.await? else {
                return Err(ApiError::store_unavailable());
            };
            self.verifier_key(&pem).map_err(|error| {
                tracing::error!(error = %error, "the log's key or its origin makes no verifier key");
                ApiError::internal()
            })
        };
        self.vkey.get_or_try_init(|| ask).await
    }

    fn verifier_key(&self, pem: &str) -> Result<VerifierKey, StoreError> {
        let name = KeyName::parse(&self.origin).ok_or_else(|| {
            StoreError::Corrupt(format!("the origin {:?} names no key", self.origin))
        })?;
        VerifierKey::from_pem(name, pem).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    async fn invalid_checkpoint(&self, why: String) -> ApiError {
        let code = "audit.checkpoint_invalid";
        self.alarms.raise(code, self.origin.clone(), why).await;
        let message = "the published checkpoint is not one that the log's key signed: nothing is answered as of it";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// The log is not what its checkpoint says.
    pub(crate) async fn corrupt_log(&self, place: String, why: String) -> ApiError {
        let code = "audit.log_corrupt";
        self.alarms.raise(code, place, why).await;
        let message = "the sealed log is not what its checkpoint says, so there is no proof";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }
}
