//! The words of the house: ids, releases, principals, and the ports through
//! which every decision reaches the outside world.
//!
//! A port's documentation says in MUST and MUST NOT what an adapter
//! guarantees; `testkit` holds the suites that check it.

pub mod ids;
pub mod lookup;
pub mod ports;
pub mod principal;
pub mod recorder;
pub mod release;
pub mod settings;
pub mod spill;
pub mod system;

pub use artifact::{ModelName, ModelVersion, ParseIdError, Sha256Digest, Symbol};
pub use ids::{LogPath, PrincipalId, ReleaseId, RequestId};
pub use lookup::{EventKeys, EventPage, EventPosition, EventQuery, Lookup};
pub use ports::StoreError;
pub use principal::{Principal, Role};
pub use recorder::{Durability, Recorded, Recorder};
pub use release::{Release, ReleaseModel, ReleaseRole};
pub use settings::{SettingsFaults, SettingsReader};
pub use spill::AuditMode;
