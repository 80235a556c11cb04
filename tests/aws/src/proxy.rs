//! A proxy between the SDK and an emulator that does harm on cue.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It reaches the emulator at once, and its answer comes this much later.
    Delay(Duration),
    /// It is answered so, and does not reach the emulator.
    Answer(u16, &'static str),
    /// The connection ends before it reaches the emulator.
    ResetBefore,
    /// It reaches the emulator, and the connection ends before the answer.
    ResetAfter,
    /// It reaches the emulator, and the connection ends in the middle of the answer's body.
    CutBody,
    /// It reaches the emulator, and nothing ever comes back.
    Swallow,
}

impl Fault {
    /// `DynamoDB`'s throttling of an on-demand table.
    pub const THROTTLED_TABLE: Self = Self::Answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too fast"}"#,
    );
    /// A request rate that is too high, as the JSON services say it.
    pub const THROTTLED: Self = Self::Answer(
        400,
        r#"{"__type":"ThrottlingException","message":"too fast"}"#,
    );
    /// S3's request rate that is too high.
    pub const SLOW_DOWN: Self = Self::Answer(
        503,
        "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>too fast</Message></Error>",
    );
    /// The service failed.
    pub const FAILED: Self = Self::Answer(
        500,
        r#"{"__type":"InternalServerError","message":"failed"}"#,
    );
}

#[derive(Debug)]
struct Rule {
    about: String,
    fault: Fault,
    /// How many more requests are let through first.
    skip: usize,
    /// How many more requests suffer it after those; `None`: all.
    left: Option<usize>,
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    /// What arrived, one line a request.
    seen: Vec<String>,
}

impl Script {
    /// Notes the request, and gives what it is to suffer.
    fn take(&mut self, line: String) -> Option<Fault> {
        let about = |rule: &&mut Rule| rule.left != Some(0) && line.contains(&rule.about);
        let mut fault = None;
        if let Some(rule) = self.rules.iter_mut().find(about) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else {
                rule.left = rule.left.map(|left| left - 1);
                fault = Some(rule.fault.clone());
            }
        }
        self.seen.push(line);
        fault
    }
}

/// A proxy of its own on a port of 127.0.0.1.
///
/// A request is described by one line: the action where the service names it in a header, with the table where there is
/// one (`PutItem audit-0f`), otherwise method and path (`GET /bucket/models/m/1.0.0/key.json`).
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// Bound and never listening: the port stays this proxy's while it is away, and refuses connections.
    _reserved: TcpSocket,
    upstream: String,
    script: Arc<Mutex<Script>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// A proxy that lets everything through to `upstream` (`http://host:port`) until it is told otherwise.
    ///
    /// # Panics
    /// Where there is no port to listen on.
    pub fn to(upstream: &str) -> Self {
        let reserved = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = reserved.local_addr().expect("an address");
        let proxy = Self {
            address,
            _reserved: reserved,
            upstream: upstream
                .strip_prefix("http://")
                .expect("an emulator's URL begins with http://")
                .trim_end_matches('/')
                .to_owned(),
            script: Arc::default(),
            accepting: Mutex::default(),
        };
        proxy.accept();
        proxy
    }

    /// The URL that the SDK is to use.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next `times` requests whose line contains `about` suffer `fault`.
    pub fn next(&self, times: usize, about: &str, fault: Fault) {
        self.after(0, times, about, fault);
    }

    /// As [`next`](Self::next), once `skip` such requests were let through.
    pub fn after(&self, skip: usize, times: usize, about: &str, fault: Fault) {
        self.script().rules.push(Rule {
            about: about.to_owned(),
            fault,
            skip,
            left: Some(times),
        });
    }

    /// Lets every request whose line contains `about` suffer `fault`, until [`heal`](Self::heal).
    pub fn always(&self, about: &str, fault: Fault) {
        self.script().rules.push(Rule {
            about: about.to_owned(),
            fault,
            skip: 0,
            left: None,
        });
    }

    /// How many requests whose line contains `about` have arrived.
    pub fn count(&self, about: &str) -> usize {
        let script = self.script();
        script.seen.iter().filter(|l| l.contains(about)).count()
    }

    /// Asserts that every fault that was asked for took place.
    ///
    /// # Panics
    /// Where one did not: the test then showed nothing.
    pub fn assert_all_took_place(&self) {
        let script = self.script();
        let left: Vec<_> = script
            .rules
            .iter()
            .filter(|rule| rule.left.is_some_and(|left| left > 0))
            .collect();
        assert!(
            left.is_empty(),
            "never took place: {left:?}; seen: {:?}",
            script.seen
        );
    }

    /// Ends all connections and refuses new ones, until [`heal`](Self::heal).
    ///
    /// # Panics
    /// Never.
    pub async fn go_away(&self) {
        let accepting = self.accepting.lock().expect("a lock").take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Until the task has ended it listens; how it ended is known.
            let _ = accepting.await;
        }
    }

    /// Forgets every fault, and listens again where it had gone away.
    ///
    /// # Panics
    /// Where its own port cannot be listened on.
    pub fn heal(&self) {
        self.script().rules.clear();
        let gone = self.accepting.lock().expect("a lock").is_none();
        if gone {
            self.accept();
        }
    }

    fn accept(&self) {
        let listener = bind(self.address)
            .listen(1024)
            .expect("a port to listen on");
        let (upstream, script) = (self.upstream.clone(), Arc::clone(&self.script));
        let accepting = tokio::spawn(async move {
            // Aborted together with this task.
            let mut connections = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                connections.spawn(serve(socket, upstream.clone(), Arc::clone(&script)));
                while connections.try_join_next().is_some() {}
            }
        });
        *self.accepting.lock().expect("a lock") = Some(accepting);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().expect("a lock").take() {
            accepting.abort();
        }
    }
}

/// A socket on the address, which others of this function may be bound to as well; one of them may listen.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a port");
    socket
}

async fn serve(socket: TcpStream, upstream: String, script: Arc<Mutex<Script>>) {
    // What is left unsent when a connection ends is thrown away: the client sees a reset.
    let _ = socket.set_zero_linger();
    let _ = socket.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        handle(request, upstream.clone(), Arc::clone(&script))
    });
    // An error is what a fault asked for, or a client that went away.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

/// A connection that is to end.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off by the test")
    }
}

impl std::error::Error for Broken {}

fn handle(
    request: Request<Incoming>,
    upstream: String,
    script: Arc<Mutex<Script>>,
) -> BoxFuture<'static, Result<Response<Body>, Broken>> {
    async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let line = describe(&head.headers, &head.method, &head.uri, &body);
        let fault = script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(line);
        match &fault {
            Some(Fault::Answer(status, text)) => return Ok(answer(*status, text)),
            Some(Fault::ResetBefore) => return Err(Broken),
            _ => {}
        }
        // On a task of its own: a client that goes away does not take the request back.
        let forwarded = tokio::spawn(forward(head, body, upstream)).await;
        let (head, body) = forwarded.map_err(|_| Broken)?.ok_or(Broken)?;
        match fault {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::ResetAfter) => return Err(Broken),
            Some(Fault::Swallow) => std::future::pending().await,
            Some(Fault::CutBody) => return Ok(cut(head, &body)),
            _ => {}
        }
        Ok(Response::from_parts(head, whole(body)))
    }
    .boxed()
}

fn describe(headers: &HeaderMap, method: &Method, uri: &Uri, body: &[u8]) -> String {
    let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    let Some((_, action)) = target.and_then(|target| target.split_once('.')) else {
        return format!("{method} {}", uri.path());
    };
    let table = String::from_utf8_lossy(body);
    let table = table.split_once("\"TableName\":\"").map_or("", |(_, t)| t);
    match table.split_once('"') {
        Some((table, _)) => format!("{action} {table}"),
        None => action.to_owned(),
    }
}

/// The answer of `upstream` (`host:port`), read whole; `None` where it gives none.
pub(crate) async fn forward(
    mut head: http::request::Parts,
    body: Bytes,
    upstream: String,
) -> Option<(http::response::Parts, Bytes)> {
    let socket = TcpStream::connect(&upstream).await.ok()?;
    socket.set_nodelay(true).ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(socket))
            .await
            .ok()?;
    tokio::spawn(connection);
    head.headers.remove("connection");
    // The body is sent at once and whole.
    head.headers.remove("expect");
    head.headers.remove("transfer-encoding");
    head.headers.insert("content-length", body.len().into());
    let request = Request::from_parts(head, Full::new(body));
    let response = sender.send_request(request).await.ok()?;
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    head.headers.remove("transfer-encoding");
    head.headers.remove("connection");
    Some((head, body))
}

fn answer(status: u16, text: &'static str) -> Response<Body> {
    let kind = if text.starts_with('<') {
        "application/xml"
    } else {
        "application/x-amz-json-1.1"
    };
    let mut response = Response::new(whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// The answer with half of its body, after which the connection breaks off.
fn cut(mut head: http::response::Parts, body: &Bytes) -> Response<Body> {
    head.headers.insert("content-length", body.len().into());
    let half = body.slice(..body.len() / 2);
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let frames = stream::iter([Ok(Frame::data(half))]).chain(stream::once(async move {
        // What was written before is on its way by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(broken)
    }));
    Response::from_parts(head, BodyExt::boxed_unsync(StreamBody::new(frames)))
}
