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
use audit::tiles::TileId;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;
use web::ApiError;

use crate::parameters::Parameters;
use crate::read::Place;

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

/// What a path names, where that takes no parameters; nothing where it is no UTF-8.
async fn read_path<T: DeserializeOwned + Default + Send>(parts: &mut Parts) -> Result<T, ApiError> {
    without_parameters(parts.uri.query())?;
    let path = Path::<T>::from_request_parts(parts, &()).await;
    Ok(path.map(|Path(named)| named).unwrap_or_default())
}

/// The stream that a path names.
pub(in crate::routes) struct OneStream(StreamId);

impl<S: Sync> FromRequestParts<S> for OneStream {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let stream: String = read_path(parts).await?;
        Ok(Self(read_stream(&stream)?))
    }
}

/// The event that a path names.
pub(in crate::routes) struct OneEvent(Place);

impl<S: Sync> FromRequestParts<S> for OneEvent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (stream, seq): (String, String) = read_path(parts).await?;
        Ok(Self((read_stream(&stream)?, read_seq(&seq)?)))
    }
}

/// The tile that a path names.
pub(in crate::routes) struct OneTile(TileId);

impl<S: Sync> FromRequestParts<S> for OneTile {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let path: String = read_path(parts).await?;
        let tile = TileId::parse(&format!("tile/{path}"));
        tile.map(Self).ok_or_else(|| {
            let message = "expected tile/<L>/<N>[.p/<W>], tile/entries/… or tile/signatures/… as C2SP tlog-tiles \
                           writes them, for example tile/0/x001/234.p/5";
            ApiError::bad_field("query.tile_invalid", "path", message)
        })
    }
}

impl OneEvent {
    /// It as it is recorded.
    fn filters(&self) -> BTreeMap<String, String> {
        let (stream, seq) = self.0;
        filters([("stream", stream.to_string()), ("seq", seq.to_string())])
    }
}

/// What was asked for, as it is recorded.
fn filters<const N: usize>(filters: [(&str, String); N]) -> BTreeMap<String, String> {
    filters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
