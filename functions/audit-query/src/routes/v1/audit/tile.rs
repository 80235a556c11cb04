//! `GET /v1/audit/tile/…`: a tile of the log, as C2SP tlog-tiles names it. What is asked of bundles of entries is
//! recorded; hashes and signatures say nothing of any event.

use std::sync::Arc;

use audit::tiles::{TileId, TileKind, parse_entries};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use domain::Durability;
use http::{HeaderMap, HeaderValue, header};
use web::{ApiError, body};

use super::{filters, without_parameters};
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, IMMUTABLE};
use crate::sealed::read_object;

pub(in crate::routes) async fn tile(
    auditor: Auditor,
    State(query): State<Arc<AuditQuery>>,
    Path(path): Path<String>,
    RawQuery(parameters): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    without_parameters(parameters.as_deref())?;
    let path = format!("tile/{path}");
    let tile = TileId::parse(&path).ok_or_else(|| {
        let message = "expected tile/<L>/<N>[.p/<W>], tile/entries/… or tile/signatures/… as C2SP tlog-tiles writes \
                       them, for example tile/0/x001/234.p/5";
        ApiError::bad_field("query.tile_invalid", "path", message)
    })?;
    let _place = query.admit()?;
    let Some(bytes) = read_object(&query, tile).await? else {
        let message = "the log has no such tile";
        return Err(routes::not_found("audit.tile_unknown", message));
    };
    let mut durability = Durability::default();
    if tile.kind() == TileKind::Entries {
        let entries = parse_entries(&bytes, tile.width()).map_or(0, |entries| entries.len());
        let size = query.head().await?.checkpoint.size;
        let asked = filters([("tile", path)]);
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
