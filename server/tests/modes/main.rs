//! The audit modes while a real file system refuses: streams may not grow beyond a limit (`RLIMIT_FSIZE`), as on a disk
//! that is full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the tests that kill a server")]
#[path = "../kill/data_dir.rs"]
mod data_dir;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit::{StreamVerifier, export};
use data_dir::{DataDir, TOKEN};
use serde_json::{Value, json};

/// Longest wait for what the server does by itself: it looks at its spill every second.
const WITHIN: Duration = Duration::from_mins(1);

struct Server {
    data: DataDir,
    addr: SocketAddr,
    child: Child,
    body: String,
}

struct Answer {
    status: u16,
    /// What the header `sealcast-audit` says.
    mark: Option<String>,
    body: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(mode: &str) -> Self {
        Self::start_with(mode, Stdio::null())
    }

    fn start_with(mode: &str, own_log: Stdio) -> Self {
        let data = DataDir::prepare();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        // A write beyond the limit is to fail, not to end the process.
        let child = Command::new("sh")
            .args([
                "-c",
                "trap '' XFSZ; exec \"$0\"",
                env!("CARGO_BIN_EXE_server"),
            ])
            .env("SEALCAST_ADDR", addr.to_string())
            .env("SEALCAST_DATA", data.path())
            .env("SEALCAST_AUDIT_MODE", mode)
            .env("SEALCAST_SEAL_INTERVAL", "1")
            .env("SEALCAST_SPILL_DIR", data.path().join("elsewhere"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(own_log)
            .spawn()
            .unwrap();
        let server = Self {
            data,
            addr,
            child,
            body: example_request(),
        };
        server.wait_for(|server| server.predict().is_some_and(|answer| answer.status == 200));
        server
    }

    fn wait_for(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + WITHIN;
        while !is_so(self) {
            assert!(Instant::now() < until, "it does not come about");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, head: &str, body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.addr).ok()?;
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {TOKEN}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let mark = |line: &str| Some(line.strip_prefix("sealcast-audit: ")?.to_owned());
        Some(Answer {
            status: lines.next()?.split(' ').nth(1)?.parse().ok()?,
            mark: lines.find_map(mark),
            body: serde_json::from_str(body).unwrap(),
        })
    }

    fn predict(&self) -> Option<Answer> {
        self.ask("POST /v1/predict", &self.body)
    }

    fn limit_files_to(&self, bytes: &str) {
        let limited = Command::new("prlimit")
            .arg(format!("--pid={}", self.child.id()))
            // The soft limit alone: it may be raised again.
            .arg(format!("--fsize={bytes}:"))
            .status();
        assert!(limited.unwrap().success());
    }

    /// The audit streams' files.
    fn streams(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data.path().join("audit")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
            .collect()
    }

    /// No stream that there is may grow any more.
    fn fill_disk(&self) {
        while size_of_largest(&self.streams()) < 20_000 {
            assert_eq!(self.predict().unwrap().status, 200);
        }
        self.limit_files_to(&size_of_largest(&self.streams()).to_string());
    }

    /// How many records the streams hold that the receipt names; each stream verifies.
    fn count(&self, receipt: &Value) -> usize {
        let keys = self.data.trusted_stream_keys();
        let mut found = 0;
        for path in self.streams() {
            let bytes = fs::read(path).unwrap();
            let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let signed = export::parse_registration_line(lines.next().unwrap()).unwrap();
            let mut verifier = StreamVerifier::new(&signed, &keys).unwrap();
            for line in lines {
                let record = export::parse_record_line(line).unwrap();
                verifier.check(&record).unwrap();
                found += usize::from(json!(record.receipt()) == *receipt);
            }
        }
        found
    }
}

fn size_of_largest(streams: &[PathBuf]) -> u64 {
    let sizes = streams.iter().map(|path| fs::metadata(path).unwrap().len());
    sizes.max().unwrap_or(0)
}

fn example_request() -> String {
    let text = fs::read_to_string(data_dir::example().join("features.csv")).unwrap();
    let mut lines = text.lines();
    let names = lines.next().unwrap().split(',').skip(1);
    let values = lines.next().unwrap().split(',').skip(1);
    let features: serde_json::Map<String, Value> = names
        .map(str::to_owned)
        .zip(values.map(|value| value.parse::<f64>().unwrap().into()))
        .collect();
    json!({"symbol": "SPX", "features": features}).to_string()
}

fn is_empty(spill: &Path) -> bool {
    let names = fs::read_dir(spill).unwrap().map(|it| it.unwrap().path());
    !names
        .into_iter()
        .any(|path| path.extension().is_some_and(|it| it == "jsonl"))
}

#[test]
fn in_the_mode_strict_what_cannot_be_recorded_is_not_answered() {
    let server = Server::start("strict");
    server.fill_disk();
    let refused = server.predict().unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.body["code"], "audit.unavailable");
    // Another stream has room.
    let answer = server.predict().unwrap();
    assert_eq!((answer.status, answer.mark), (200, None));
    assert!(is_empty(&server.data.path().join("elsewhere")));
}

#[test]
fn in_the_mode_available_it_is_spilled_and_comes_into_its_stream() {
    let server = Server::start("available");
    server.fill_disk();
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let answer = server.predict().unwrap();
        assert_eq!(
            (answer.status, answer.mark.as_deref()),
            (200, Some("spilled"))
        );
        assert_eq!(answer.body["audit"], json!({"durability": "spilled"}));
        receipts.push(answer.body["receipt"].clone());
    }
    server.wait_for(|server| {
        let status = server.ask("GET /v1/status", "").unwrap().body;
        let reasons = status["reasons"].as_array().unwrap();
        status["spill"]["events"] == 3 && reasons.iter().any(|it| it["code"] == "spill.not_empty")
    });
    // The log is used again, with another stream.
    server.wait_for(|server| {
        let answer = server.predict().unwrap();
        assert_eq!(answer.status, 200);
        answer.mark.is_none()
    });
    for receipt in &receipts {
        assert_eq!(server.count(receipt), 0, "it has no room yet");
    }
    server.limit_files_to("unlimited");
    let spill = server.data.path().join("elsewhere");
    server.wait_for(|_| is_empty(&spill));
    for receipt in &receipts {
        assert_eq!(server.count(receipt), 1);
    }
}

#[test]
fn in_the_mode_available_what_neither_log_nor_spill_nor_standard_error_takes_is_not_answered() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let server = Server::start_with("available", full.unwrap().into());
    server.limit_files_to("1");
    for _ in 0..3 {
        let refused = server.predict().unwrap();
        assert_eq!((refused.status, refused.mark), (503, None));
        assert_eq!(refused.body["code"], "audit.unavailable");
        assert_eq!(refused.body.get("receipt"), None);
    }
    server.limit_files_to("unlimited");
    server.wait_for(|server| server.predict().unwrap().status == 200);
}
