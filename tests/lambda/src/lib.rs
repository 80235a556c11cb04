//! Lambda's interface played by a test: a Runtime API that real function
//! binaries poll, the environment that they are started in, and the events
//! that a gateway sends.

pub mod event;
pub mod example;
pub mod gone;
pub mod instant_dynamodb;
pub mod process;
pub mod runtime_api;

pub use event::Event;
pub use example::Example;
pub use gone::Gone;
pub use process::Function;
pub use runtime_api::{Answer, RuntimeApi};
