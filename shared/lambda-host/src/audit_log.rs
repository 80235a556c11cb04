//! Says in the log what goes into the audit log: the hash of each record, and every security event.

use std::sync::Arc;

use async_trait::async_trait;
use audit::{Event, EventBody, Record, SignedRegistration};
use domain::StoreError;
use domain::ports::AuditAppender;
use futures::future::BoxFuture;
use tracing::Instrument;

/// How a record of a security event can be told from others without parsing each: canonical JSON has no spaces, and
/// a text in it cannot hold a bare quotation mark.
const SECURITY: &[u8] = br#""kind":"security""#;

/// An audit log that repeats on the process's log output what makes tampering visible: a record that is taken out of
/// the audit log later has left its hash there.
pub struct LoggedAudit {
    inner: Arc<dyn AuditAppender>,
}

impl LoggedAudit {
    /// The same audit log, repeated.
    pub fn new(inner: Arc<dyn AuditAppender>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl AuditAppender for LoggedAudit {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        self.inner.register(registration).await
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        // A security event is said at once, whatever becomes of its record.
        records.iter().for_each(say_security);
        let receipts: Vec<_> = records.iter().map(Record::receipt).collect();
        let durable = self.inner.append(records);
        let append = async move {
            durable.await?;
            for receipt in receipts {
                let (stream, leaf_hash) = (receipt.stream, receipt.leaf_hash);
                tracing::info!(audit.stream = %stream, audit.seq = receipt.seq, audit.leaf_hash = %leaf_hash, "recorded");
            }
            Ok(())
        };
        // A task of its own: what becomes durable leaves its hash also where its caller no longer waits.
        let task = tokio::spawn(append.in_current_span());
        Box::pin(async move {
            let lost = |_| Err(StoreError::OutcomeUnknown("the append ended".to_owned()));
            task.await.unwrap_or_else(lost)
        })
    }
}

pub(crate) fn say_security(record: &Record) {
    if !record
        .entry
        .windows(SECURITY.len())
        .any(|part| part == SECURITY)
    {
        return;
    }
    let event = serde_json::from_slice::<Event>(&record.entry).map(|event| event.body);
    if let Ok(EventBody::Security(security)) = event {
        tracing::error!(
            event.kind = "security",
            security.code = security.code,
            security.subject = security.subject,
            audit.stream = %record.stream,
            audit.seq = record.seq,
            "{}",
            security.detail
        );
    }
}
