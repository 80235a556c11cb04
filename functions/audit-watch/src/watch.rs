//! Looks at changes, and records what nobody may do.

use std::sync::Arc;

use audit::event::Security;
use domain::Recorder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::Change;

/// Changes of the audit table, in the order in which they were made.
#[derive(Debug, Clone, Deserialize)]
pub struct Changes {
    /// Each as `DynamoDB` Streams writes it.
    #[serde(rename = "Records")]
    pub records: Vec<Value>,
}

/// Up to where changes were looked at. Lambda sends the failed one again, and all after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// The first change that could not be recorded, if any.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failed>,
}

/// A change that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its number in the table's stream; empty where it has none, which means the whole batch.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

/// Records every change that nobody may make.
pub struct Watch {
    recorder: Arc<Recorder>,
}

impl Watch {
    /// Records with `recorder`.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    /// Looks at changes until one cannot be recorded. What was recorded may be recorded once more when Lambda sends it
    /// again: the number of the change tells.
    pub async fn look(&self, changes: Changes) -> Looked {
        for record in &changes.records {
            let (security, sequence_number) = match Change::parse(record) {
                Ok(change) => (change.security(), change.sequence_number().to_owned()),
                Err(unreadable) => {
                    let number = unreadable.sequence_number.unwrap_or_default();
                    (Some(unreadable_change(&number, &unreadable.reason)), number)
                }
            };
            let Some(security) = security else {
                continue;
            };
            if self.recorder.record_security(security).await.is_err() {
                return Looked {
                    failures: vec![Failed { sequence_number }],
                };
            }
        }
        Looked::default()
    }
}

fn unreadable_change(sequence_number: &str, reason: &str) -> Security {
    Security {
        code: "audit.row_change_unreadable".to_owned(),
        detail: format!("a change of the audit table cannot be read: {reason}"),
        subject: format!("change {sequence_number}"),
    }
}
