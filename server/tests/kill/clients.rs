//! Clients that ask on, whatever happens to the server, and keep what they were told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::{Connection, Response};
use crate::data_dir;
use crate::random::Random;

const PAUSE: Duration = Duration::from_millis(5);
/// Longest time until a request is answered, over however many attempts.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a client was told.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) request_id: String,
    /// `STREAM:SEQ:HASH`.
    pub(crate) receipt: String,
    /// The server says that it answered the request before.
    pub(crate) is_replay: bool,
}

/// What all clients were told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) answers: Vec<Answer>,
    /// Requests that got no answer and were sent again.
    pub(crate) sent_again: usize,
    /// Answers with status 503.
    pub(crate) refused: usize,
}

struct Shared {
    addr: SocketAddr,
    token: &'static str,
    rows: Vec<Value>,
    stop: AtomicBool,
    log: Mutex<Log>,
}

pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(addr: SocketAddr, token: &'static str, count: u64, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            addr,
            token,
            rows: read_rows(),
            stop: AtomicBool::new(false),
            log: Mutex::default(),
        });
        let threads = (0..count)
            .map(|number| {
                let client = Client {
                    shared: Arc::clone(&shared),
                    number,
                    random: Random::new(seed ^ (number + 1)),
                    connection: None,
                    told: Vec::new(),
                };
                std::thread::spawn(move || client.ask())
            })
            .collect();
        Self { shared, threads }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        assert!(
            !self.threads.iter().any(JoinHandle::is_finished),
            "a client has failed"
        );
        self.shared.log.lock().unwrap()
    }

    /// Waits until this many more answers have come.
    pub(crate) fn wait_for_more_answers(&self, count: usize) {
        let (until, goal) = (Instant::now() + PATIENCE, self.log().answers.len() + count);
        while self.log().answers.len() < goal {
            assert!(Instant::now() < until, "the answers have stopped");
            std::thread::sleep(PAUSE);
        }
    }

    /// Lets every request under way be answered, and gives everything that was told.
    pub(crate) fn stop(self) -> Log {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

fn read_rows() -> Vec<Value> {
    let text = std::fs::read_to_string(data_dir::example().join("features.csv")).unwrap();
    let parse = |line: &str| {
        line.split(',')
            .skip(1)
            .map(|value| value.parse().unwrap())
            .collect::<Vec<f64>>()
    };
    text.lines()
        .skip(1)
        .map(|line| json!(parse(line)))
        .collect()
}

/// A request and, once it was answered, the answer's bytes.
struct Told {
    body: Vec<u8>,
    answer: Vec<u8>,
}

struct Client {
    shared: Arc<Shared>,
    number: u64,
    random: Random,
    connection: Option<Connection>,
    /// Every request with an id of ours that was answered.
    told: Vec<Told>,
}

impl Client {
    /// Asks until told to stop; a request under way is seen through.
    fn ask(mut self) {
        let mut number = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            number += 1;
            match self.random.below(4) {
                // Without an id nobody can ask again: a lost answer stays lost.
                0 => {
                    let body = self.write_request(None);
                    if let Some(response) = self.send(&body) {
                        assert!(
                            !self.keep(&response),
                            "no request came before: {}",
                            show(&response.body)
                        );
                    }
                }
                1 if !self.told.is_empty() => {
                    let told = self.random.below(self.told.len() as u64) as usize;
                    let body = self.told[told].body.clone();
                    let response = self.send_until_answered(&body);
                    assert!(
                        self.keep(&response),
                        "answered anew: {}",
                        show(&response.body)
                    );
                    let (expected, found) = (show(&self.told[told].answer), show(&response.body));
                    assert_eq!(found, expected, "the same request got another answer");
                }
                _ => {
                    let id = format!("client-{}-request-{number}", self.number);
                    let body = self.write_request(Some(&id));
                    let response = self.send_until_answered(&body);
                    self.keep(&response);
                    self.told.push(Told {
                        body,
                        answer: response.body,
                    });
                }
            }
        }
    }

    fn write_request(&mut self, id: Option<&str>) -> Vec<u8> {
        let row = self.random.below(self.shared.rows.len() as u64) as usize;
        let mut request = json!({"symbol": "SPX", "features": self.shared.rows[row]});
        if let Some(id) = id {
            request["request_id"] = json!(id);
        }
        request.to_string().into_bytes()
    }

    /// Sends the request once; `None` where no whole answer came or the server was not able to give one.
    fn send(&mut self, body: &[u8]) -> Option<Response> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.shared.addr, self.shared.token).ok()?),
        };
        let Ok(response) = connection.post("/v1/predict", body) else {
            self.connection = None;
            return None;
        };
        match response.status {
            200 => Some(response),
            503 => {
                self.shared.log.lock().unwrap().refused += 1;
                None
            }
            status => panic!("status {status}: {}", show(&response.body)),
        }
    }

    /// Sends the request, with the same id, until it is answered.
    fn send_until_answered(&mut self, body: &[u8]) -> Response {
        let until = Instant::now() + PATIENCE;
        let mut was_cut_off = false;
        loop {
            let was_connected = self.connection.is_some();
            if let Some(response) = self.send(body) {
                return response;
            }
            // A request that was under way when the connection broke may have been recorded.
            if was_connected && self.connection.is_none() && !was_cut_off {
                was_cut_off = true;
                self.shared.log.lock().unwrap().sent_again += 1;
            }
            assert!(Instant::now() < until, "no answer: {}", show(body));
            std::thread::sleep(PAUSE);
        }
    }

    /// Keeps what was told; true where the server says that it told it before.
    fn keep(&self, response: &Response) -> bool {
        let header = |name: &str| response.headers.get(name).cloned();
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let is_replay = header("sealcast-replayed").as_deref() == Some("true");
        let answer = Answer {
            request_id: body["request_id"].as_str().unwrap().to_owned(),
            receipt: header("sealcast-receipt").unwrap(),
            is_replay,
        };
        let [stream, seq, hash] =
            ["stream", "seq", "leaf_hash"].map(|part| body["receipt"][part].clone());
        let in_body = format!(
            "{}:{seq}:{}",
            stream.as_str().unwrap(),
            hash.as_str().unwrap()
        );
        assert_eq!(
            answer.receipt, in_body,
            "header and body name different records"
        );
        assert_eq!(header("x-request-id").as_ref(), Some(&answer.request_id));
        self.shared.log.lock().unwrap().answers.push(answer);
        is_replay
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The answers by receipt: several where one was read back.
pub(crate) fn group_by_receipt(answers: &[Answer]) -> HashMap<&str, Vec<&Answer>> {
    let mut groups: HashMap<&str, Vec<&Answer>> = HashMap::new();
    for answer in answers {
        groups.entry(&answer.receipt).or_default().push(answer);
    }
    groups
}
