//! What a server tells of itself while an operator and a fault change what it stands on, as a probe sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the tests that kill a server")]
#[path = "../kill/data_dir.rs"]
mod data_dir;
#[expect(dead_code, reason = "shared with the tests that kill a server")]
#[path = "../kill/process.rs"]
mod process;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use audit::EventBody;
use data_dir::DataDir;
use process::ServerProcess;
use serde_json::{Value, json};

/// Longest wait for a probe to see a change: what was seen is shown again for 3 s.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

struct Site {
    data: DataDir,
    addr: SocketAddr,
    server: ServerProcess,
}

impl Site {
    /// Starts a server over the example's release, once `change` has changed its data directory.
    fn start(change: impl FnOnce(&DataDir)) -> Self {
        let data = DataDir::prepare();
        change(&data);
        let addr = process::find_free_addr();
        let server = ServerProcess::start(data.path(), addr);
        let site = Self { data, addr, server };
        site.wait_for("/healthz", |status, body| {
            status == 200 && *body == json!({"status": "alive"})
        });
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// The answer, or `None` where the server does not listen yet.
    fn get(&self, path: &str, token: Option<&str>) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.addr).ok()?;
        stream.set_read_timeout(Some(SEEN_WITHIN)).unwrap();
        let credentials = token.map_or_else(String::new, |token| {
            format!("authorization: Bearer {token}\r\n")
        });
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: test\r\n{credentials}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, serde_json::from_str(body).unwrap()))
    }

    /// Asks until the answer is as expected; gives it.
    fn wait_for(&self, path: &str, expected: impl Fn(u16, &Value) -> bool) -> Value {
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            let answer = self.get(path, None);
            if let Some((status, body)) = &answer
                && expected(*status, body)
            {
                return body.clone();
            }
            let log = || self.data.read_server_log();
            assert!(Instant::now() < until, "{path}: {answer:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_until_ready(&self) {
        self.wait_for("/readyz", |status, body| {
            status == 200 && body["status"] == "ok"
        });
    }

    fn wait_until_down(&self, code: &str, subject: &str) {
        self.wait_for("/readyz", |status, body| {
            let reason = json!({"code": code, "subject": subject, "blocking": true});
            status == 503 && body["reasons"] == json!([reason])
        });
    }

    fn status(&self) -> Value {
        let (status, body) = self.get("/v1/status", Some(data_dir::TOKEN)).unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Stops the server, removes its directory and gives its security events as (code, subject).
    fn finish(mut self) -> Vec<(String, String)> {
        assert!(
            self.server.stop().success(),
            "{}",
            self.data.read_server_log()
        );
        let mut events = Vec::new();
        for file in std::fs::read_dir(self.path("audit")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            for line in lines.skip(1) {
                let record = audit::export::parse_record_line(line).unwrap();
                let event: audit::Event = serde_json::from_slice(&record.entry).unwrap();
                if let EventBody::Security(event) = event.body {
                    events.push((event.code, event.subject));
                }
            }
        }
        self.data.remove();
        events
    }
}

#[test]
fn a_server_tells_what_serves_and_what_breaks_and_records_each_breach_once() {
    let site = Site::start(|_| {});
    site.wait_until_ready();
    let status = site.status();
    assert_eq!(status["status"], "ok");
    assert_eq!(status["score"]["value"], 100);
    assert_eq!(
        status["alias"],
        json!({"name": "live", "release": "r-000001", "revision": 1})
    );
    assert_eq!(status["release"]["models"].as_array().unwrap().len(), 2);
    assert_eq!(status["versions"][0]["version"], "server");
    assert_eq!(status["versions"][0]["state"], "serving");
    let names: Vec<_> = status["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["ok"].as_bool().unwrap()))
        .collect();
    assert_eq!(names, [("data", true), ("claims", true), ("keys", true)]);
    assert!(status["newest_event_age_ms"].is_u64(), "{status}");
    assert_eq!(site.get("/v1/status", None).unwrap().0, 401);

    let key = site.path("keys/stream-registration.pem");
    let aside = site.path("aside");
    std::fs::rename(&key, &aside).unwrap();
    site.wait_until_down("dependency.gone", "keys");
    std::fs::rename(&aside, &key).unwrap();
    site.wait_until_ready();

    let alias = site.path("aliases/live.json");
    let before = std::fs::read(&alias).unwrap();
    std::fs::write(&alias, "{}").unwrap();
    site.wait_until_down("alias.moved", "live");
    std::fs::write(&alias, before).unwrap();
    site.wait_until_ready();

    let pair = |code: &str, subject: &str| (code.to_owned(), subject.to_owned());
    assert_eq!(
        site.finish(),
        [
            pair("auth.missing", "unknown caller"),
            pair("dependency.gone", "keys"),
            pair("dependency.restored", "keys"),
            pair("alias.moved", "live"),
            pair("alias.restored", "live"),
        ]
    );
}

#[test]
fn before_the_first_activation_a_server_lives_and_is_not_ready() {
    let site = Site::start(|data| {
        std::fs::remove_file(data.path().join("aliases/live.json")).unwrap();
    });
    let body = site.wait_for("/readyz", |status, _| status == 503);
    assert_eq!(body["status"], "down");
    assert_eq!(
        body["reasons"][0],
        json!({"code": "alias.not_activated", "subject": "live", "blocking": true})
    );
    let status = site.status();
    assert_eq!(status["alias"], Value::Null);
    assert_eq!(status["release"], Value::Null);
    assert_eq!(site.finish(), []);
}

#[test]
fn a_release_whose_model_was_tampered_with_is_not_ready_and_says_why() {
    let site = Site::start(|data| {
        let model = data
            .path()
            .join("artifacts/spx-direction/1.0.0/model.onnx.sealed");
        let mut bytes = std::fs::read(&model).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&model, bytes).unwrap();
    });
    site.wait_for("/readyz", |status, body| {
        status == 503 && body["reasons"][0]["code"] == "fleet.not_serving"
    });
    // The first look may have come before the load had failed.
    let until = Instant::now() + SEEN_WITHIN;
    let reason = loop {
        let status = site.status();
        if let Some(reason) = status["versions"][0]["heartbeat"]["reason"].as_str() {
            break reason.to_owned();
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(reason.starts_with("artifact."), "{reason}");
    let events = site.finish();
    assert!(!events.is_empty(), "the load is on record");
    assert!(
        events
            .iter()
            .all(|(code, subject)| *code == reason && subject == "spx-direction@1.0.0"),
        "{events:?}"
    );
}
