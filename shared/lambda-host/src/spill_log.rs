//! Says in the log what goes into the spill, as [`LoggedAudit`](crate::LoggedAudit) does of the audit log.

use std::sync::Arc;

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::SpillWriter;
use domain::spill::{SpillContent, SpillItem};

use crate::audit_log::say_security;

/// A spill that repeats on the process's log output the hash of each record that it takes.
pub struct LoggedSpill {
    inner: Arc<dyn SpillWriter>,
}

impl LoggedSpill {
    /// The same spill, repeated.
    pub fn new(inner: Arc<dyn SpillWriter>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl SpillWriter for LoggedSpill {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        let SpillContent::Records(records) = item.content() else {
            return self.inner.put(item).await;
        };
        records.iter().for_each(say_security);
        self.inner.put(item).await?;
        for record in records {
            let receipt = record.receipt();
            let (stream, leaf_hash) = (receipt.stream, receipt.leaf_hash);
            tracing::warn!(audit.stream = %stream, audit.seq = receipt.seq, audit.leaf_hash = %leaf_hash, audit.place = "spill", "recorded");
        }
        Ok(())
    }
}
