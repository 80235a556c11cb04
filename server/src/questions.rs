//! Answers questions to the audit log of the data directory.

use std::sync::Arc;

use anyhow::Context;
use audit_query::{AuditQuery, Limits, Ports};
use domain::Recorder;
use domain::ports::Clock;
use store_embedded::EmbeddedStore;

use crate::seal;

/// The function over the data directory, for the log of this name.
pub(crate) fn open(
    store: &EmbeddedStore,
    origin: &str,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<AuditQuery>> {
    let log_key = store.keys().log_signer();
    let ports = Ports {
        search: store.audit_search(),
        streams: store.audit_reader(),
        index: store.seal_index(),
        log: store.log(),
        log_key: log_key.context("the log has no signing key")?,
    };
    let query = AuditQuery::new(ports, Limits::STREAMED, origin.to_owned(), recorder, clock);
    Ok(Arc::new(query.trusting(seal::earlier_keys(store, origin)?)))
}
