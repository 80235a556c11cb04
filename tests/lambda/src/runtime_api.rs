//! The Runtime API and the part of the Extensions API that a function asks for
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};

const RUNTIME: &str = "/2018-06-01/runtime/";
const REGISTER: &str = "/2020-01-01/extension/register";
const EXTENSION_EVENT: &str = "/2020-01-01/extension/event/next";

/// Until when an invocation of a deployed function runs, by the project's template.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// What a function posted for an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `…/response`.
    Response(Bytes),
    /// To `…/error`.
    Error(Bytes),
}

impl Answer {
    /// The response, as JSON.
    ///
    /// # Panics
    /// Where the function posted an error, or something that is no JSON.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Response(bytes) => serde_json::from_slice(bytes).expect("JSON"),
            Self::Error(bytes) => panic!("the function failed: {}", String::from_utf8_lossy(bytes)),
        }
    }
}

struct Invocation {
    id: String,
    event: Bytes,
    time: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Invocation>,
    /// Handed out and not answered.
    under_way: HashMap<String, oneshot::Sender<Answer>>,
    unsent: HashMap<String, oneshot::Sender<Answer>>,
    counted: u64,
    most_under_way: usize,
    init_error: Option<Bytes>,
    extensions: Vec<String>,
}

struct Shared {
    state: Mutex<State>,
    more: Notify,
    first_poll: watch::Sender<Option<Instant>>,
    has_extensions: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Runtime API on this machine, for one function.
#[derive(Clone)]
pub struct RuntimeApi {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl RuntimeApi {
    /// Listens on a free port.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn start() -> std::io::Result<Self> {
        Self::listen(true).await
    }

    /// The same, with an Extensions API that does not exist.
    ///
    /// # Errors
    /// Where there is no free port.
    pub async fn start_without_extensions() -> std::io::Result<Self> {
        Self::listen(false).await
    }

    async fn listen(has_extensions: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            more: Notify::new(),
            first_poll: watch::Sender::new(None),
            has_extensions,
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared })
    }

    /// What `AWS_LAMBDA_RUNTIME_API` is set to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Hands the event to the function; ready when it answers, which it has [`TIMEOUT`] for.
    ///
    /// # Panics
    /// Where the function is gone.
    pub async fn invoke(&self, event: impl Into<Bytes>) -> Answer {
        self.invoke_within(TIMEOUT, event).await
    }

    /// The same with another time, of which the function is told; it is not held to it.
    ///
    /// # Panics
    /// Where the function is gone.
    pub async fn invoke_within(&self, time: Duration, event: impl Into<Bytes>) -> Answer {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.shared.state();
            state.counted += 1;
            let id = format!("{:08x}-0000-4000-8000-000000000000", state.counted);
            let event = event.into();
            state.unsent.insert(id.clone(), sender);
            state.waiting.push_back(Invocation { id, event, time });
        }
        self.shared.more.notify_one();
        answer.await.expect("an answer")
    }

    /// When the function first asked for an event: its initialisation ended then.
    ///
    /// # Panics
    /// Never.
    pub async fn first_poll(&self) -> Instant {
        let mut polls = self.shared.first_poll.subscribe();
        let first = polls.wait_for(Option::is_some).await.expect("kept by self");
        (*first).unwrap_or_else(Instant::now)
    }

    /// The most invocations that were under way at once.
    pub fn most_under_way(&self) -> usize {
        self.shared.state().most_under_way
    }

    /// What the function posted to `…/init/error`.
    pub fn init_error(&self) -> Option<Bytes> {
        self.shared.state().init_error.clone()
    }

    /// The names of the extensions that registered.
    pub fn extensions(&self) -> Vec<String> {
        self.shared.state().extensions.clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // Small messages must not wait for each other (Nagle); a failure costs only time.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(shared, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // A function that ends breaks its connections.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Reply = Response<Full<Bytes>>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let name = request.headers().get("lambda-extension-name").cloned();
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let call = path.strip_prefix(RUNTIME).unwrap_or(&path);
    match (method, call) {
        (Method::GET, "invocation/next") => next(&shared).await,
        (Method::POST, "init/error") => {
            shared.state().init_error = Some(body);
            empty(StatusCode::ACCEPTED)
        }
        (Method::POST, REGISTER) if shared.has_extensions => {
            let name = name.and_then(|name| name.to_str().ok().map(str::to_owned));
            shared.state().extensions.extend(name);
            let body = r#"{"functionName":"test","functionVersion":"7","handler":"bootstrap"}"#;
            Response::builder()
                .header("lambda-extension-identifier", "e")
                .body(body.into())
                .unwrap_or_default()
        }
        (Method::GET, EXTENSION_EVENT) if shared.has_extensions => std::future::pending().await,
        (Method::POST, call) => completed(&shared, call, body),
        _ => empty(StatusCode::NOT_FOUND),
    }
}

async fn next(shared: &Shared) -> Reply {
    shared.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(Instant::now);
        is_first
    });
    let invocation = loop {
        {
            let mut state = shared.state();
            if let Some(invocation) = state.waiting.pop_front() {
                if let Some(sender) = state.unsent.remove(&invocation.id) {
                    state.under_way.insert(invocation.id.clone(), sender);
                }
                state.most_under_way = state.most_under_way.max(state.under_way.len());
                if !state.waiting.is_empty() {
                    shared.more.notify_one();
                }
                break invocation;
            }
        }
        shared.more.notified().await;
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let deadline_ms = (now + invocation.time).as_millis();
    let trace_id = format!("Root=1-5759e988-{:0>24};Sampled=0", &invocation.id[..8]);
    let arn = "arn:aws:lambda:eu-west-1:111122223333:function:test:7";
    Response::builder()
        .header("lambda-runtime-aws-request-id", &invocation.id)
        .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", trace_id)
        .header("content-type", "application/json")
        .body(Full::new(invocation.event))
        .unwrap_or_default()
}

fn completed(shared: &Shared, call: &str, body: Bytes) -> Reply {
    let mut parts = call.split('/').skip(1);
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next());
    let answer = match kind {
        Some("response") => Answer::Response(body),
        Some("error") => Answer::Error(body),
        _ => return empty(StatusCode::NOT_FOUND),
    };
    match shared.state().under_way.remove(id) {
        Some(sender) => {
            // Whoever invoked may have stopped waiting.
            let _ = sender.send(answer);
            empty(StatusCode::ACCEPTED)
        }
        None => empty(StatusCode::BAD_REQUEST),
    }
}

fn empty(status: StatusCode) -> Reply {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
