//! Attempts.

/// How long a call is tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience;
