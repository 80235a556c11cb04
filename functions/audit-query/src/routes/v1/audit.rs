//! `/v1/audit`.

pub(in crate::routes) mod checkpoint;
pub(in crate::routes) mod event;
pub(in crate::routes) mod events;
pub(in crate::routes) mod proof;
pub(in crate::routes) mod registration;
pub(in crate::routes) mod tile;
pub(in crate::routes) mod vkey;

use std::collections::BTreeMap;

use audit::StreamId;
use web::ApiError;

use crate::parameters::Parameters;

fn read_stream(text: &str) -> Result<StreamId, ApiError> {
    StreamId::parse(text).ok_or_else(|| {
        let message = "expected a stream's id, 32 lower-case hexadecimal digits";
        ApiError::bad_field("query.stream_invalid", "stream", message)
    })
}

fn read_seq(text: &str) -> Result<u64, ApiError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = "expected a position in a stream, a decimal from 0";
        ApiError::bad_field("query.seq_invalid", "seq", message)
    })
}

/// Refuses parameters where a path takes none.
fn without_parameters(query: Option<&str>) -> Result<(), ApiError> {
    Parameters::read(query, &[]).map(drop)
}

/// What was asked for, as it is recorded.
fn filters<const N: usize>(filters: [(&str, String); N]) -> BTreeMap<String, String> {
    filters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
