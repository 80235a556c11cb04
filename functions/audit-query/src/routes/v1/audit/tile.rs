//! `GET /v1/audit/tile/…`: a tile of the log, as C2SP tlog-tiles names it. What is asked of bundles of entries is
//! recorded; hashes and signatures say nothing of any event.

use std::sync::Arc;

use audit::tiles::{TileKind, parse_entries};
use axum::extract::State;
use axum::response::Response;
use domain::Durability;
use http::{HeaderMap, HeaderValue, header};
use web::{ApiError, body};

use super::{OneTile, filters};
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, IMMUTABLE};
use crate::sealed::read_object;

pub(in crate::routes) async fn tile(
    auditor: Auditor,
    OneTile(tile): OneTile,
    State(query): State<Arc<AuditQuery>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let _place = query.admit()?;
    let Some(bytes) = read_object(&query, tile).await? else {
        let message = "the log has no such tile";
        return Err(routes::not_found("audit.tile_unknown", message));
    };
    let mut durability = Durability::default();
    if tile.kind() == TileKind::Entries {
        let entries = parse_entries(&bytes, tile.width()).map_or(0, |entries| entries.len());
        let size = query.head().await?.checkpoint.size;
        let asked = filters([("tile", tile.to_string())]);
        durability = query.record(&auditor, asked, entries, size).await?;
    }
    let media_type = HeaderValue::from_static("application/octet-stream");
    let (bytes, coding) = body::compress(&headers, bytes);
    let mut response = routes::response(bytes.into(), media_type, IMMUTABLE);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    Ok(routes::recorded(response, durability))
}
