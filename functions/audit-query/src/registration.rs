//! What vouches for a stream's key: its row, and what of it is sealed.

use audit::{Registration, SignedRegistration, StreamId};
use http::StatusCode;
use web::ApiError;

use crate::function::{AuditQuery, Held};
use crate::head::Head;
use crate::sealed::{LOG_CORRUPT, Leaf, TileFault};

/// The row is not the registration that was sealed.
const ALTERED: &str = "audit.registration_altered";
/// The row is no registration.
const UNREADABLE: &str = "audit.registration_unreadable";

impl AuditQuery {
    /// The stream's registration as of `head`; none where there is none. What was sealed counts; which key signed it is
    /// not sealed, and empty where the row does not say so any more.
    pub(crate) async fn read_registration(
        &self,
        stream: StreamId,
        head: &Head,
    ) -> Result<Option<SignedRegistration>, ApiError> {
        let row = self.ask("registration", self.ports.streams.registration(stream));
        let (row, known) = tokio::try_join!(row, self.registered_at(stream))?;
        let sealed = match known.filter(|(index, _)| *index < head.checkpoint.size) {
            Some((index, _)) => match self.read_sealed_registration(stream, index, head).await? {
                Ok(leaf) => Some(leaf),
                Err(why) => {
                    let place = stream.to_string();
                    self.alarms.raise(LOG_CORRUPT, place, why.clone()).await;
                    match row {
                        // It proves itself, by the key that signed it.
                        Held::Found(row) => return Ok(Some(row)),
                        _ => return Err(unreadable(LOG_CORRUPT)),
                    }
                }
            },
            None => None,
        };
        let Some(Leaf { entry, signature }) = sealed else {
            return match row {
                Held::Found(row) => Ok(Some(row)),
                Held::Missing => Ok(None),
                Held::Unreadable(why) => {
                    self.alarms.raise(UNREADABLE, stream.to_string(), why).await;
                    Err(unreadable(UNREADABLE))
                }
            };
        };
        let key_id = match row {
            Held::Found(row) if row.registration == entry && row.signature == signature => {
                return Ok(Some(row));
            }
            Held::Found(row) => {
                let why = "its row is not what was sealed, which is given";
                let place = stream.to_string();
                self.alarms.raise(ALTERED, place, why.to_owned()).await;
                row.key_id
            }
            Held::Missing => String::new(),
            Held::Unreadable(why) => {
                self.alarms.raise(UNREADABLE, stream.to_string(), why).await;
                String::new()
            }
        };
        Ok(Some(SignedRegistration {
            registration: entry,
            key_id,
            signature,
        }))
    }

    /// The stream's registration, which the log's own index says stands at `index`, or why it does not.
    async fn read_sealed_registration(
        &self,
        stream: StreamId,
        index: u64,
        head: &Head,
    ) -> Result<Result<Leaf, TileFault>, ApiError> {
        let leaf = match self.read_leaves([index], head).await?.remove(&index) {
            Some(Ok(leaf)) => self.read_leaf(index, &leaf, head).await?,
            Some(Err(why)) => Err(why),
            None => Err(format!("the log has no leaf {index}")),
        };
        Ok(leaf.and_then(|leaf| {
            let sealed: Option<Registration> = serde_json::from_slice(&leaf.entry).ok();
            match sealed {
                Some(sealed) if sealed.stream == stream => Ok(leaf),
                _ => Err(format!(
                    "the index of the log says leaf {index}, which is no registration of this stream"
                )),
            }
        }))
    }
}

fn unreadable(code: &'static str) -> ApiError {
    let message = "the stream's registration cannot be read";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
}
