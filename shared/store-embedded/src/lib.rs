//! The ports on files, redb and local keys: durable, on one machine, without a
//! service of any kind.
//!
//! ```text
//! DATA/keys/                      local keys, each file 0600
//! DATA/artifacts/NAME/VERSION/    manifest.json, model.onnx.sealed, model.packed.sealed (or none), model.sig, key.json
//! DATA/audit/STREAM.jsonl         one audit stream a file, in the export form of `audit::export`
//! DATA/spill/                     what the audit log did not take (may be elsewhere)
//! DATA/log/                       the sealed log: tile/…, checkpoint, and what was committed last
//! DATA/releases/r-000001.json     one release a file
//! DATA/aliases/live.json          what an alias points to
//! DATA/state.redb                 answers by request id
//! DATA/index.redb                 where events stand, made of the streams
//! DATA/sealed.redb                where events stand in the sealed log
//! ```
//!
//! Everything but the three databases may be used by several processes at once, so a
//! command line pushes models and creates releases while the server runs.
//! Nothing is answered before it would survive `kill -9` and a power failure:
//! files are synced, and so is the directory that names them.

mod artifacts;
mod audit_log;
mod claims;
mod database;
mod dependencies;
mod durable;
mod error;
mod heartbeats;
mod keys;
mod log;
mod releases;
mod seal_index;
mod search;
mod spill;
mod store;

pub use artifacts::{FileArtifacts, MAX_CONTAINER_BYTES};
pub use audit_log::{ExportError, FileAudit, export_stream, list_streams};
pub use claims::RedbClaims;
pub use error::OpenError;
pub use heartbeats::MemoryHeartbeats;
pub use keys::LocalKeys;
pub use log::FileLog;
pub use releases::{FileReleases, SERVER_VERSION};
pub use seal_index::RedbSealIndex;
pub use search::RedbSearch;
pub use spill::FileSpill;
pub use store::EmbeddedStore;
