//! An auditor asks a server that seals while it runs: what is answered verifies with the log's key alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the tests that kill a server")]
#[path = "../kill/data_dir.rs"]
mod data_dir;
#[expect(dead_code, reason = "shared with the tests that kill a server")]
#[path = "../kill/process.rs"]
mod process;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use audit::checkpoint::TrustedLog;
use audit::note::{KeyName, VerifierKey};
use audit::proof_file::ProofFile;
use data_dir::DataDir;
use process::ServerProcess;
use serde_json::Value;

const ORIGIN: &str = "sealcast.local";

/// The answer's head and body. HTTP/1.0: a body that is streamed ends with the connection.
fn get(addr: SocketAddr, path: &str, token: Option<&str>) -> (String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let credentials = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let request = format!("GET {path} HTTP/1.0\r\nhost: test\r\n{credentials}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn ask(addr: SocketAddr, path: &str) -> String {
    let (head, body) = get(addr, path, Some(data_dir::TOKEN));
    assert_eq!(head.split(' ').nth(1), Some("200"), "{path}: {head} {body}");
    body
}

/// The events, once all of them are sealed.
fn sealed(addr: SocketAddr, path: &str) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let body: Value = serde_json::from_str(&ask(addr, path)).unwrap();
        let events = body["events"].as_array().unwrap().clone();
        if !events.is_empty() && events.iter().all(|event| event["sealed"] == true) {
            return events;
        }
        assert!(Instant::now() < until, "not sealed: {body}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_a_server_recorded_is_found_proven_and_verified_with_its_key() {
    let data = DataDir::prepare();
    let addr = process::find_free_addr();
    let mut server = ServerProcess::start(data.path(), addr);
    server.wait_until_ready();
    let (head, _) = get(addr, "/v1/audit/events", None);
    assert!(head.starts_with("HTTP/1.0 401"), "{head}");
    let (head, _) = get(addr, "/v1/audit/events", Some("another-token"));
    assert!(head.starts_with("HTTP/1.0 401"), "{head}");

    let pem = data.path().join("keys/log-signing.pub.pem");
    let pem = std::fs::read_to_string(pem).unwrap();
    let key = VerifierKey::from_pem(KeyName::parse(ORIGIN).unwrap(), &pem).unwrap();
    assert_eq!(ask(addr, "/v1/audit/log.vkey"), format!("{key}\n"));
    let log = TrustedLog::by_keys(ORIGIN, vec![key]);

    let mut seen = 0;
    for (kind, count) in [("process_started", 1), ("model_access", 2), ("security", 2)] {
        let events = sealed(addr, &format!("/v1/audit/events?kind={kind}"));
        assert_eq!(events.len(), count, "{kind}: {events:?}");
        for event in events {
            let (stream, seq) = (event["stream"].as_str().unwrap(), &event["seq"]);
            let one = ask(addr, &format!("/v1/audit/events/{stream}/{seq}"));
            let entry = one.split_once("\"entry\":").unwrap().1;
            let entry = entry.split_once(",\"sig\":").unwrap().0;
            let one: Value = serde_json::from_str(&one).unwrap();
            let proof = ProofFile::parse(one["proof"].as_str().unwrap().as_bytes()).unwrap();
            let proven = proof.verify(entry.as_bytes(), &log).unwrap();
            assert_eq!(proven.index, one["index"].as_u64().unwrap());
            seen = seen.max(proven.checkpoint.size);
        }
    }
    let (checkpoint, _) = log
        .open(ask(addr, "/v1/audit/checkpoint").as_bytes())
        .unwrap();
    assert!(checkpoint.size >= seen);

    let all = "/v1/audit/events?limit=1000";
    let lines = ask(addr, &format!("{all}&format=ndjson"));
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| event["entry"]["kind"].as_str().unwrap().to_owned())
        .collect();
    let asked = kinds.iter().filter(|kind| *kind == "query").count();
    assert!(asked >= 8, "every question is an event: {kinds:?}");
    let csv = ask(addr, &format!("{all}&format=csv"));
    assert!(
        csv.lines().count() > kinds.len(),
        "the question before is one more"
    );
    assert!(server.stop().success(), "{}", data.read_server_log());
    data.remove();
}
