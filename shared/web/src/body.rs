//! Bodies: a request's is bounded before and after decompression, a response's is compressed where the caller asks.

use std::io::{Read, Write};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use crate::error::ApiError;

/// Longest body in bytes, as sent and decompressed: what a synchronous Lambda invocation takes.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// Longest time that a caller may take to send the body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The most memory that [`read`] may take for this request's body, in bytes: as sent, and once more decompressed.
pub fn most_bytes(headers: &HeaderMap) -> usize {
    let sent = declared(headers).map_or(MAX_BODY_BYTES, |length| {
        usize::try_from(length).map_or(MAX_BODY_BYTES, |length| length.min(MAX_BODY_BYTES))
    });
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none();
    if is_plain {
        sent
    } else {
        sent + MAX_BODY_BYTES
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Reads the whole body and decompresses it (`Content-Encoding: gzip` or `deflate`).
///
/// # Errors
/// 413 where it is longer than [`MAX_BODY_BYTES`] at any stage, 415 for another encoding,
/// 400 where the compressed bytes are broken, 408 where the caller takes too long.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    read_within(headers, body, READ_TIMEOUT).await
}

async fn read_within(headers: &HeaderMap, body: Body, limit: Duration) -> Result<Bytes, ApiError> {
    if declared(headers).is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        drain(body).await;
        return Err(too_large());
    }
    let collected = tokio::time::timeout(limit, Limited::new(body, MAX_BODY_BYTES).collect())
        .await
        .map_err(|_| {
            ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "request.timeout",
                format!("the body did not arrive within {} s", limit.as_secs_f32()),
            )
        })?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
        Err(_) => {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "request.body_incomplete",
                "the connection ended before the body did",
            ));
        }
    };
    decompress(headers, bytes)
}

/// Reads on for a while what will be refused: a caller that is still writing would otherwise find the connection
/// broken, and not the answer.
async fn drain(mut body: Body) {
    let mut left = 4 * MAX_BODY_BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Whatever did not arrive in time is not worth waiting for.
    let _ = tokio::time::timeout(READ_TIMEOUT, rest).await;
}

fn decompress(headers: &HeaderMap, bytes: Bytes) -> Result<Bytes, ApiError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(bytes);
    };
    let encoding = encoding
        .to_str()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(bytes),
        "gzip" | "x-gzip" => read_all(MultiGzDecoder::new(&*bytes)),
        // HTTP's deflate is zlib (RFC 9110, 8.4.1.2); some clients send the bare stream all the same.
        "deflate" if bytes.first().is_some_and(|b| b & 0x0f == 8) => {
            read_all(ZlibDecoder::new(&*bytes))
        }
        "deflate" => read_all(DeflateDecoder::new(&*bytes)),
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "request.encoding_unsupported",
            "expected Content-Encoding gzip, deflate or identity",
        )
        .at("Content-Encoding")),
    }
}

/// Shortest body that is worth compressing, in bytes.
const MIN_COMPRESSED: usize = 4096;

/// Compresses a response's body where the caller takes that (`Accept-Encoding`) and it is long enough to be worth
/// it. Gives the bytes, and the `Content-Encoding` to name.
pub fn compress(headers: &HeaderMap, plain: Vec<u8>) -> (Vec<u8>, Option<&'static str>) {
    if plain.len() < MIN_COMPRESSED {
        return (plain, None);
    }
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    let takes = |name: &str| {
        accepted.is_some_and(|list| {
            list.split(',').any(|item| {
                let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
                let refused = weight
                    .trim()
                    .strip_prefix("q=")
                    .is_some_and(|q| q.parse() == Ok(0.0));
                coding.trim().eq_ignore_ascii_case(name) && !refused
            })
        })
    };
    let written = if takes("gzip") {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(&plain)
            .and_then(|()| encoder.finish())
            .map(|bytes| (bytes, "gzip"))
    } else if takes("deflate") {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(&plain)
            .and_then(|()| encoder.finish())
            .map(|bytes| (bytes, "deflate"))
    } else {
        return (plain, None);
    };
    // Writing to memory does not fail; if it did, the plain bytes are as good.
    written.map_or((plain, None), |(bytes, coding)| (bytes, Some(coding)))
}

fn read_all(decoder: impl Read) -> Result<Bytes, ApiError> {
    let mut plain = Vec::new();
    decoder
        .take(MAX_BODY_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| {
            ApiError::bad_field(
                "request.encoding_broken",
                "Content-Encoding",
                "the body is not what Content-Encoding says it is",
            )
        })?;
    if plain.len() > MAX_BODY_BYTES {
        return Err(too_large());
    }
    Ok(plain.into())
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "request.too_large",
        format!("the body is longer than {MAX_BODY_BYTES} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream::{self, StreamExt};

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(header::HeaderName, &str)| (name.clone(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[tokio::test]
    async fn a_body_that_stops_arriving_is_408() {
        let begun = stream::iter([Ok::<_, Infallible>("{\"symbol\":")]);
        let body = Body::from_stream(begun.chain(stream::pending()));
        let limit = Duration::from_millis(20);
        let error = read_within(&HeaderMap::new(), body, limit)
            .await
            .unwrap_err();
        assert_eq!(error.status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(error.code, "request.timeout");
        assert_eq!(error.message, "the body did not arrive within 0.02 s");
    }

    #[test]
    fn a_body_is_reckoned_as_large_as_it_may_become() {
        let plain = headers(&[(header::CONTENT_LENGTH, "1000")]);
        assert_eq!(most_bytes(&plain), 1000);
        assert_eq!(most_bytes(&HeaderMap::new()), MAX_BODY_BYTES);
        let gzip = headers(&[
            (header::CONTENT_LENGTH, "1000"),
            (header::CONTENT_ENCODING, "gzip"),
        ]);
        assert_eq!(most_bytes(&gzip), 1000 + MAX_BODY_BYTES);
        let huge = headers(&[(header::CONTENT_LENGTH, "99999999999999999999")]);
        assert_eq!(most_bytes(&huge), MAX_BODY_BYTES);
    }
}
