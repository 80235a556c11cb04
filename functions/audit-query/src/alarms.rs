//! Records what only a fault or an attack explains, each once a process: a question that is asked again would say it
//! again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use audit::event::Security;
use domain::Recorder;

/// Findings that are remembered; beyond, all are forgotten and may be recorded once more.
const REMEMBERED: usize = 4096;

/// What was recorded already.
pub(crate) struct Alarms {
    recorder: Arc<Recorder>,
    told: Mutex<BTreeSet<(&'static str, String)>>,
}

impl Alarms {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self {
            recorder,
            told: Mutex::default(),
        }
    }

    /// Records the finding, unless it was; ready when that is durable. What cannot be recorded is tried again when it
    /// is found again.
    pub(crate) async fn raise(&self, code: &'static str, subject: String, detail: String) {
        let finding = (code, subject);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() >= REMEMBERED {
                told.clear();
            }
            if !told.insert(finding.clone()) {
                return;
            }
        }
        tracing::error!(code, subject = finding.1, "{detail}");
        let event = Security {
            code: code.to_owned(),
            subject: finding.1.clone(),
            detail: detail.chars().take(1000).collect(),
        };
        if self.recorder.record_security(event).await.is_err() {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.remove(&finding);
        }
    }
}
