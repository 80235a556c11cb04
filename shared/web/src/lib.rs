//! What every HTTP function does the same way: who calls, which request this
//! is, how large it may be, what an error looks like, and that a refusal is
//! recorded before it is answered.

pub mod body;
pub mod caller;
pub mod error;
pub mod request;

pub use caller::{AuthFailure, Caller};
pub use error::{ApiError, RefusalContext};
pub use request::{Deadline, Edge, RequestInfo};
