//! A run: connections that send until the time or the requests are used up.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::connection::{Answer, Connection};
use crate::options::Options;
use crate::process::Snapshot;
use crate::request::RequestTemplate;
use crate::summary::{Run, Summary, Tally};

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a request that got no answer.
const PAUSE: Duration = Duration::from_millis(20);

/// What all connections share.
struct Plan {
    addr: SocketAddr,
    /// Requests that may still be sent.
    tickets: AtomicU64,
    /// Number of the next request.
    next: AtomicU64,
    /// Answers to requests sent before count nowhere.
    measured_from: Instant,
    until: Instant,
    receipts: Option<Mutex<BufWriter<File>>>,
}

/// Runs the load and sums up what came back.
pub(crate) async fn measure(
    options: &Options,
    template: &RequestTemplate,
) -> anyhow::Result<Summary> {
    TcpStream::connect(options.addr)
        .await
        .with_context(|| format!("no server at {}", options.addr))?;
    let measured_from = Instant::now() + Duration::from_secs(options.warmup_s);
    let plan = Arc::new(Plan {
        addr: options.addr,
        tickets: AtomicU64::new(options.requests.unwrap_or(u64::MAX)),
        next: AtomicU64::new(0),
        measured_from,
        until: measured_from + options.duration(),
        receipts: options.receipts.as_deref().map(append_to).transpose()?,
    });
    let workers: Vec<_> = (0..options.connections)
        .map(|_| tokio::spawn(send_requests(Arc::clone(&plan), template.clone())))
        .collect();
    sleep(measured_from.saturating_duration_since(Instant::now())).await;
    let before = Snapshot::take(options.server_pid);
    let mut tally = Tally::new()?;
    for worker in workers {
        tally.merge(worker.await??)?;
    }
    let elapsed = measured_from.elapsed();
    let load = Snapshot::take(options.server_pid).since(before);
    if let Some(receipts) = &plan.receipts {
        receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
            .context("writing the receipts")?;
    }
    Ok(tally.summarize(
        elapsed,
        Run {
            path: options.path.clone(),
            connections: options.connections,
            load,
        },
    ))
}

fn append_to(path: &Path) -> anyhow::Result<Mutex<BufWriter<File>>> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    Ok(Mutex::new(BufWriter::with_capacity(1 << 16, file)))
}

async fn send_requests(plan: Arc<Plan>, mut template: RequestTemplate) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    let mut connection = None;
    while plan.take_ticket() {
        let request = template.write_number(plan.next.fetch_add(1, Ordering::Relaxed));
        let started = Instant::now();
        let outcome = exchange(&plan, &mut connection, request).await;
        let is_measured = started >= plan.measured_from;
        match outcome {
            Ok(answer) => {
                plan.keep_receipt(&answer)?;
                if is_measured {
                    tally.count_answer(&answer, started.elapsed());
                }
            }
            Err(reason) => {
                connection = None;
                if is_measured {
                    tally.count_failure(reason);
                }
                sleep(PAUSE).await;
            }
        }
    }
    Ok(tally)
}

/// One request on the connection at hand, or on a new one.
async fn exchange(
    plan: &Plan,
    connection: &mut Option<Connection<TcpStream>>,
    request: &[u8],
) -> Result<Answer, String> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::new(
            connect(plan.addr)
                .await
                .map_err(|e| format!("connecting failed: {}", e.kind()))?,
        ),
    };
    let answer = timeout(ANSWER_TIMEOUT, open.exchange(request)).await;
    let answer = answer.map_err(|_| format!("none within {} s", ANSWER_TIMEOUT.as_secs()))?;
    let answer = answer.map_err(|e| e.to_string())?;
    if !answer.closes {
        *connection = Some(open);
    }
    Ok(answer)
}

async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Plan {
    /// False where the time or the requests are used up.
    fn take_ticket(&self) -> bool {
        Instant::now() < self.until
            && self
                .tickets
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }

    fn keep_receipt(&self, answer: &Answer) -> anyhow::Result<()> {
        let (Some(receipts), Some(receipt)) = (&self.receipts, &answer.receipt) else {
            return Ok(());
        };
        ensure!(
            receipt.split(':').count() == 3,
            "a receipt is STREAM:SEQ:HASH, got {receipt:?}"
        );
        let mut receipts = receipts.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(receipts, "{receipt}").context("writing the receipts")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::request::BodyForm;

    /// Answers every third request with 503, closes after every fifth, and gives the rest a receipt.
    async fn serve(listener: TcpListener) {
        let count = Arc::new(AtomicU64::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                    let status = if number.is_multiple_of(3) {
                        "503 x"
                    } else {
                        "200 OK"
                    };
                    let close = if number.is_multiple_of(5) {
                        "connection: close\r\n"
                    } else {
                        ""
                    };
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: 2\r\nsealcast-receipt: ab:{number}:cd\r\n{close}\r\n{{}}"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if !close.is_empty() {
                        break;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn every_request_of_the_cap_is_sent_and_counted_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        let receipts = tempfile::NamedTempFile::new().unwrap();
        let options = Options::parse_from([
            "load",
            "--body",
            "-",
            "--requests",
            "300",
            "--connections",
            "4",
            "--addr",
            &addr.to_string(),
            "--receipts",
            receipts.path().to_str().unwrap(),
        ]);
        let form = BodyForm {
            own_ids: true,
            binary: false,
        };
        let template = RequestTemplate::build(addr, "/v1/predict", None, b"{}", form).unwrap();
        let summary = measure(&options, &template).await.unwrap();
        assert_eq!(summary.successes, 200);
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["statuses"]["503"], 100, "{json}");
        assert_eq!(json["failures"], serde_json::json!({}), "{json}");
        let text = std::fs::read_to_string(receipts.path()).unwrap();
        assert_eq!(text.lines().count(), 300);
        assert!(
            text.lines()
                .all(|line| line.starts_with("ab:") && line.ends_with(":cd")),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_run_needs_a_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let options = Options::parse_from(["load", "--body", "-", "--addr", &addr.to_string()]);
        let form = BodyForm {
            own_ids: false,
            binary: false,
        };
        let template = RequestTemplate::build(addr, "/", None, b"{}", form).unwrap();
        assert!(
            measure(&options, &template)
                .await
                .unwrap_err()
                .to_string()
                .contains("no server at")
        );
    }
}
