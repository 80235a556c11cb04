//! A `DynamoDB` that takes every write at once and keeps nothing: what is left of an invocation's time is the
//! function's own. Everything but a write goes to the real one.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const TARGET: &str = "x-amz-target";
const WRITES: [&str; 2] = [
    "DynamoDB_20120810.PutItem",
    "DynamoDB_20120810.TransactWriteItems",
];

/// Listens on a free port; what is no write goes to `real`, an `http://` address.
///
/// # Errors
/// Where there is no free port.
pub async fn start(real: String) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Small messages must not wait for each other (Nagle); a failure costs only time.
            let _ = stream.set_nodelay(true);
            let real = real.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let real = real.clone();
                    async move { Ok::<_, Infallible>(answer(real, request).await) }
                });
                // A function that ends breaks its connections.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(addr)
}

async fn answer(real: String, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let is_write = head
        .headers
        .get(TARGET)
        .is_some_and(|target| WRITES.iter().any(|write| target == write));
    let answered = if is_write {
        Ok(Bytes::from_static(b"{}"))
    } else {
        tokio::task::spawn_blocking(move || forward(&real, &head.headers, &body))
            .await
            .context("the call was abandoned")
            .and_then(|answered| answered)
    };
    let mut response = match answered {
        Ok(body) => Response::new(Full::new(body)),
        Err(error) => {
            let mut response = Response::new(Full::from(format!("{error:#}")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    };
    let json = header::HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Hands a call on with the headers that it is signed with.
fn forward(real: &str, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<Bytes> {
    let mut call = ureq::post(real);
    for (name, value) in headers {
        if name != header::CONTENT_LENGTH && name != header::CONNECTION {
            call = call.header(name, value);
        }
    }
    let mut answered = call.send(body)?;
    Ok(answered.body_mut().read_to_vec()?.into())
}
