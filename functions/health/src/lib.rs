//! What serves, and whether everything that it needs is there.
//!
//! [`Health::look`] asks everything at once ([`survey`]), judges the answers
//! ([`assess`], pure), gives them a [`score`] (pure) and records what only a
//! fault or an attack explains ([`alerts`]). The [`routes`] show what it saw.

pub mod alerts;
pub mod assess;
pub mod code;
pub mod config;
pub mod function;
pub mod routes;
pub mod score;

pub mod survey;
mod version;

pub use assess::{Report, Status, assess};
pub use code::{Blocks, Code};
pub use function::{Health, LIVE, Limits};
pub use routes::{ROUTES, router};
pub use survey::{Need, Needed, Ports};
pub use version::{VersionState, Versions};
