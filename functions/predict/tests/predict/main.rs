//! The predict function over real stores in a temporary directory, request by request.

mod bad_input;
mod degraded;
mod failing_stores;
mod loading;
mod protocol;
mod request_id;
mod support;
