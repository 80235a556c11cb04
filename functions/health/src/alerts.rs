//! Records what only a fault or an attack explains: once when it is first seen, and once when it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use audit::event::Security;
use domain::Recorder;
use tokio::sync::Mutex;

use crate::code::Code;

/// Longest detail in an event, in characters.
const MAX_DETAIL: usize = 1000;

/// What is known of one place that can be broken into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The place, for example `alias` or `dependency stream-key`.
    pub place: String,
    /// What is known of it.
    pub finding: Finding,
}

/// What is known of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Sound,
    /// Nobody can tell just now: what was known before still holds.
    Unknown,
    /// It is as only a fault or an attack explains.
    Breach {
        /// What is wrong.
        code: Code,
        /// Of what.
        subject: String,
        /// What the store said.
        detail: String,
    },
}

/// A breach that was recorded and is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    code: Code,
    subject: String,
}

/// What becomes of a place, and the event that says so.
struct Change {
    place: String,
    standing: Option<Standing>,
    event: Security,
}

/// Remembers which breaches were recorded. Its memory is the process's: another process records the same breach too.
pub struct Alerts {
    recorder: Arc<Recorder>,
    standing: Arc<Mutex<BTreeMap<String, Standing>>>,
}

impl Alerts {
    /// Nothing is recorded yet.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self {
            recorder,
            standing: Arc::default(),
        }
    }

    /// Records what changed since the last call. Ready when that is durable, or after `limit`: recording then goes
    /// on, and what could not be recorded is tried again at the next call.
    pub async fn tell(&self, conditions: &[Condition], limit: Duration) {
        // Whoever holds the lock is recording; the next look sees what is left to record.
        let Ok(mut standing) = Arc::clone(&self.standing).try_lock_owned() else {
            return;
        };
        let changes = changes(&standing, conditions);
        if changes.is_empty() {
            return;
        }
        let recorder = Arc::clone(&self.recorder);
        // A task of its own: a caller that goes away must not cut a recording in half.
        let recording = tokio::spawn(async move {
            for change in changes {
                let (code, subject) = (change.event.code.clone(), change.event.subject.clone());
                match recorder.record_security(change.event).await {
                    Ok(_) => {
                        if let Some(breach) = change.standing {
                            tracing::warn!(
                                breach.code = code,
                                breach.subject = subject,
                                "a breach is on record"
                            );
                            standing.insert(change.place, breach);
                        } else {
                            tracing::info!(
                                breach.code = code,
                                breach.subject = subject,
                                "the end of a breach is on record"
                            );
                            standing.remove(&change.place);
                        }
                    }
                    Err(_) => return,
                }
            }
        });
        if tokio::time::timeout(limit, recording).await.is_err() {
            tracing::error!("security events are not recorded yet");
        }
    }
}

fn changes(standing: &BTreeMap<String, Standing>, conditions: &[Condition]) -> Vec<Change> {
    conditions
        .iter()
        .filter_map(|Condition { place, finding }| {
            let before = standing.get(place);
            let (event, standing) = match (finding, before) {
                (Finding::Unknown, _) | (Finding::Sound, None) => return None,
                (Finding::Sound, Some(before)) => (restored(before), None),
                (
                    Finding::Breach {
                        code,
                        subject,
                        detail,
                    },
                    _,
                ) => {
                    let now = Standing {
                        code: *code,
                        subject: subject.clone(),
                    };
                    if before == Some(&now) {
                        return None;
                    }
                    (broken(&now, detail), Some(now))
                }
            };
            Some(Change {
                place: place.clone(),
                standing,
                event,
            })
        })
        .collect()
}

fn broken(breach: &Standing, detail: &str) -> Security {
    Security {
        code: breach.code.as_str().to_owned(),
        subject: breach.subject.clone(),
        detail: detail.chars().take(MAX_DETAIL).collect(),
    }
}

/// The event that says that a breach is over: `alias.restored`, `release.restored`, `dependency.restored`.
fn restored(breach: &Standing) -> Security {
    let code = breach.code.as_str();
    let family = code.split_once('.').map_or(code, |(family, _)| family);
    Security {
        code: format!("{family}.restored"),
        subject: breach.subject.clone(),
        detail: format!("{code} is over"),
    }
}
