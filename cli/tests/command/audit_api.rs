//! The audit commands against an API, whose part a thread of the test plays.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit::proof_file::ProofFile;
use audit::tiles::TreeReader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sealing::{Sealed, Written};
use crate::support::{Run, command, run_in};

/// Status, further header lines and body.
type Response = (u16, String, Vec<u8>);
type Handler = Arc<dyn Fn(&str) -> Response + Send + Sync>;

/// Answers every request by its path and query, until the test ends.
fn serve(listener: TcpListener, handler: Handler) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || answer(stream, &handler));
        }
    });
}

fn answer(stream: TcpStream, handler: &Handler) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    assert!(head.contains("Bearer auditor-token"), "{head}");
    let path = head.split(' ').nth(1).unwrap();
    let (status, headers, body) = handler(path);
    let length = body.len();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let head = format!(
        "HTTP/1.1 {status} S\r\ndate: {date}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n"
    );
    let mut stream = reader.into_inner();
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

fn start(handler: impl Fn(&str) -> Response + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    serve(listener, Arc::new(handler));
    address
}

fn ok(body: impl Into<Vec<u8>>) -> Response {
    (200, String::new(), body.into())
}

fn refuse(status: u16, code: &str) -> Response {
    let body = json!({ "error": "refused", "code": code, "request_id": "r" });
    (status, String::new(), body.to_string().into_bytes())
}

fn file(path: PathBuf) -> Response {
    fs::read(path).map_or_else(|_| refuse(404, "audit.tile_not_found"), ok)
}

/// The routes of a sealed log.
fn serve_log(sealed: &Sealed) -> impl Fn(&str) -> Response + Send + Sync + use<> {
    let (log, key) = (sealed.log(""), sealed.path("log.vkey"));
    move |path| match path.strip_prefix("/v1/audit/") {
        Some("log.vkey") => file(key.clone()),
        Some(rest) => file(log.join(rest)),
        None => refuse(404, "http.not_found"),
    }
}

fn run(sealed: &Sealed, address: &str, line: &str) -> Run {
    fs::write(sealed.path("token"), "auditor-token\n").unwrap();
    let server = format!("--server http://{address} --token-file {{}}/token");
    let keys = "--key {}/log.vkey --key {}/registration.pem";
    run_in(
        sealed.temp.path(),
        &line.replace("SERVER", &server).replace("KEYS", keys),
    )
}

#[test]
fn a_whole_log_is_verified_behind_an_api_and_kept() {
    let (sealed, _) = Sealed::three_streams();
    let address = start(serve_log(&sealed));
    let found = run(
        &sealed,
        &address,
        "audit verify SERVER KEYS --json --mirror {}/copy",
    )
    .ends_with(0)
    .json();
    assert_eq!(
        (&found["verdict"], &found["entries"]),
        (&"verified".into(), &455.into())
    );
    run(&sealed, &address, "audit verify --log {}/copy KEYS").ends_with(0);
    let found = run(
        &sealed,
        &address,
        "audit checkpoint SERVER KEYS --since {}/kept --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(found["grown_from"], 124);
    let found = run(
        &sealed,
        &address,
        "audit verify SERVER KEYS --since {}/kept --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(found["entries"], 331, "{found}");
}

#[test]
fn a_key_that_the_server_gives_is_said_to_prove_only_consistency() {
    let (sealed, _) = Sealed::three_streams();
    let address = start(serve_log(&sealed));
    let line = "audit verify SERVER --key {}/registration.pem";
    let text = run(&sealed, &address, line).ends_with(0).stdout;
    assert!(
        text.contains("signed by          example.com/audit; the key was taken from the server: this proves only consistency"),
        "{text}"
    );
    let found = run(&sealed, &address, "audit checkpoint SERVER --json")
        .ends_with(0)
        .json();
    assert_eq!(found["key_from"], "server");
}

#[test]
fn a_server_that_now_and_then_refuses_is_asked_again_and_one_that_is_gone_is_no_evidence() {
    let (sealed, _) = Sealed::three_streams();
    let (log, count) = (serve_log(&sealed), AtomicUsize::new(0));
    let address = start(
        move |path| match count.fetch_add(1, Ordering::Relaxed) % 3 {
            1 => refuse(503, "store.unavailable"),
            _ => log(path),
        },
    );
    run(&sealed, &address, "audit verify SERVER KEYS --json").ends_with(0);
    let log = serve_log(&sealed);
    let address = start(move |path| {
        if path.contains("tile/entries/001") {
            return refuse(503, "store.unavailable");
        }
        log(path)
    });
    let found = run(&sealed, &address, "audit verify SERVER KEYS --json")
        .ends_with(4)
        .json();
    assert_eq!(
        (&found["verdict"], &found["fault_count"]),
        (&"unreachable".into(), &0.into()),
        "{found}"
    );
    assert!(
        found["not_verified"]
            .to_string()
            .contains("tile/entries/001.p/199"),
        "{found}"
    );
    // Somebody who may not read is told so, and it is no evidence either.
    let address = start(|_| refuse(403, "auth.forbidden"));
    let (exit, code, _) = run(&sealed, &address, "audit verify SERVER KEYS --json").failure();
    assert_eq!((exit, code.as_str()), (4, "audit.log_unreachable"));
}

/// Keeps the newest checkpoint and the proof of its growth.
const KEEP: &str =
    "audit checkpoint SERVER KEYS --since {}/kept --growth {}/growth --out {}/newest --json";

#[test]
fn a_growth_that_is_shown_once_and_then_otherwise_is_not_written() {
    let (sealed, _) = Sealed::three_streams();
    let (log, count) = (serve_log(&sealed), AtomicUsize::new(0));
    let address = start(move |path| {
        let (status, headers, mut body) = log(path);
        if path.ends_with("tile/0/000") && count.fetch_add(1, Ordering::Relaxed) > 0 {
            body[8] ^= 1;
        }
        (status, headers, body)
    });
    let (exit, code, _) = run(&sealed, &address, KEEP).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.tile_differs"));
    assert!(!sealed.path("growth").exists() && !sealed.path("newest").exists());
}

#[test]
fn a_tile_that_is_not_given_a_second_time_is_named_as_it_is_and_nothing_is_written() {
    let (sealed, _) = Sealed::three_streams();
    let answers = [
        (ok(vec![0; 33]), 1),
        (refuse(404, "audit.tile_not_found"), 3),
        (refuse(403, "auth.forbidden"), 4),
    ];
    for (again, expected) in answers {
        let (log, count) = (serve_log(&sealed), AtomicUsize::new(0));
        let address = start(move |path| {
            if path.ends_with("tile/0/000") && count.fetch_add(1, Ordering::Relaxed) > 0 {
                return again.clone();
            }
            log(path)
        });
        let (exit, code, error) = run(&sealed, &address, KEEP).failure();
        assert_eq!((exit, code.as_str()), (expected, "audit.log_unreadable"));
        assert!(error.contains("tile/0/000"), "{error}");
        assert!(!sealed.path("growth").exists() && !sealed.path("newest").exists());
    }
}

#[test]
fn whoever_may_not_ask_proves_nothing() {
    let (sealed, streams) = Sealed::three_streams();
    let address = start(|_| refuse(403, "auth.role_missing"));
    let receipt = streams[0].receipt(7);
    let line = format!("audit prove {receipt} SERVER KEYS --json");
    let (exit, code, error) = run(&sealed, &address, &line).failure();
    assert_eq!((exit, code.as_str()), (4, "auth.role_missing"));
    assert!(error.contains(&format!("{}:7", streams[0].id())), "{error}");
    let line = format!("audit verify SERVER KEYS --receipt {receipt} --json");
    let found = run(&sealed, &address, &line).ends_with(4).json();
    assert_eq!(found["verdict"], "unreachable");
}

#[test]
fn registrations_before_a_range_are_asked_of_the_api_and_else_found_in_the_log() {
    let (sealed, streams) = Sealed::three_streams();
    let lines: Vec<(String, Vec<u8>)> = streams
        .iter()
        .map(|stream| {
            let route = format!("/v1/audit/streams/{}/registration", stream.id());
            (
                route,
                audit::export::registration_line(&stream.registration),
            )
        })
        .collect();
    let log = serve_log(&sealed);
    let address = start(move |path| {
        if let Some((_, line)) = lines.iter().find(|(route, _)| route == path) {
            return ok(line.clone());
        }
        // Where the registrations stand in the log.
        assert!(!path.ends_with("tile/entries/000"), "{path}");
        log(path)
    });
    let range = "audit verify SERVER KEYS --from 260 --json";
    let found = run(&sealed, &address, range).ends_with(0).json();
    assert_eq!(found["signatures"], 194, "{found}");
    let address = start(serve_log(&sealed));
    let found = run(&sealed, &address, range).ends_with(0).json();
    assert_eq!(found["signatures"], 194, "{found}");
}

#[test]
fn an_altered_entry_behind_an_api_is_found_by_its_index() {
    let (sealed, _) = Sealed::three_streams();
    let log = serve_log(&sealed);
    let address = start(move |path| {
        let (status, headers, mut body) = log(path);
        if path.ends_with("tile/entries/000") {
            let at = body
                .windows(9)
                .position(|part| part == b"subject 7")
                .unwrap();
            body[at + 8] = b'8';
        }
        (status, headers, body)
    });
    let found = run(&sealed, &address, "audit verify SERVER KEYS --json")
        .ends_with(1)
        .json();
    assert_eq!(
        (&found["verdict"], &found["faults"][0]["code"]),
        (&"tampered".into(), &"audit.entry_differs".into())
    );
}

/// The API's form of an event, with its proof where it is sealed.
fn event(sealed: &Sealed, stream: &Written, seq: usize, index: Option<u64>) -> String {
    let record = &stream.records[seq];
    let entry = String::from_utf8(record.entry.clone()).unwrap();
    let proof = index.map(|index| {
        let mut tree = TreeReader::new(sealed.size(), |tile: audit::tiles::TileId| {
            fs::read(sealed.log(&tile.to_string()))
        });
        let proof = ProofFile {
            extra: None,
            index,
            hashes: tree.prove_inclusion(index).unwrap(),
            checkpoint: fs::read_to_string(sealed.log("checkpoint")).unwrap(),
        };
        proof.to_string()
    });
    let head = json!({
        "stream": record.stream,
        "seq": record.seq,
        "leaf_hash": record.receipt().leaf_hash,
        "sealed": index.is_some(),
        "index": index,
        "proof": proof,
        "sig": STANDARD.encode(record.signature),
    });
    // The entry stands there as it was signed.
    let head = head.to_string();
    format!("{},\"entry\":{entry}}}", head.strip_suffix('}').unwrap())
}

#[test]
fn an_event_is_proven_from_the_api_and_waited_for() {
    let (sealed, streams) = Sealed::three_streams();
    let found = run(
        &sealed,
        "",
        &format!(
            "audit prove {} --log {{}}/log KEYS --out {{}}/a --name e --json",
            streams[1].receipt(100)
        ),
    );
    let index = found.ends_with(0).json()["index"].as_u64().unwrap();
    let answers = [
        event(&sealed, &streams[1], 100, None),
        event(&sealed, &streams[1], 100, Some(index)),
    ];
    let count = AtomicUsize::new(0);
    let address = start(move |path| {
        assert!(path.starts_with("/v1/audit/events/0202"), "{path}");
        ok(answers[count.fetch_add(1, Ordering::Relaxed).min(1)].clone())
    });
    let line = format!(
        "audit prove {} SERVER KEYS --out {{}}/b --name e --json",
        streams[1].receipt(100)
    );
    let (exit, code, _) = run(&sealed, &address, &line).failure();
    assert_eq!((exit, code.as_str()), (4, "audit.event_not_sealed"));
    let found = run(&sealed, &address, &format!("{line} --wait 20"))
        .ends_with(0)
        .json();
    assert_eq!(found["index"], index);
    for name in ["e.json", "e.tlog-proof"] {
        assert_eq!(
            fs::read(sealed.path("a").join(name)).unwrap(),
            fs::read(sealed.path("b").join(name)).unwrap()
        );
    }
}

#[test]
fn a_server_that_proves_another_event_is_found_out() {
    let (sealed, streams) = Sealed::three_streams();
    let found = run(
        &sealed,
        "",
        &format!(
            "audit prove {}:50 --log {{}}/log KEYS --out {{}}/a --json",
            streams[0].id()
        ),
    );
    let index = found.ends_with(0).json()["index"].as_u64().unwrap();
    let other = event(&sealed, &streams[0], 50, Some(index));
    let address = start(move |_| ok(other.clone()));
    let line = format!(
        "audit prove {}:51 SERVER KEYS --out {{}}/b --json",
        streams[0].id()
    );
    let (exit, code, _) = run(&sealed, &address, &line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.event_differs"));
    let line = format!(
        "audit verify SERVER KEYS --receipt {} --json",
        streams[0].receipt(51)
    );
    let found = run(&sealed, &address, &line).ends_with(1).json();
    assert_eq!(found["verdict"], "tampered");
}

/// Before when the server of [`page`] finds no events.
const EXPIRED: &str = "2023-08-16T00:00:00.000000Z";

/// Pages of three events each: the cursor is where to go on.
fn page(sealed: &Sealed, stream: &Written, path: &str) -> Response {
    let cursor = path.split_once("cursor=").map_or(0, |(_, rest)| {
        rest.split('&').next().unwrap().parse::<usize>().unwrap()
    });
    let until = (cursor + 3).min(8);
    let next = (until < 8).then(|| until.to_string());
    if path.contains("format=csv") {
        let rows: Vec<String> = (cursor..until)
            .map(|seq| format!("{seq},\"a \"\"b\"\"\r\nc\",{}\r\n", seq < 7))
            .collect();
        let rows = rows.concat();
        let header = next.map_or_else(String::new, |next| format!("sealcast-next: {next}\r\n"));
        let headers =
            format!("sealcast-tree-size: 455\r\nsealcast-expired-before: {EXPIRED}\r\n{header}");
        return (
            200,
            headers,
            format!("seq,text,sealed\r\n{rows}").into_bytes(),
        );
    }
    let events: Vec<String> = (cursor..until)
        .map(|seq| event(sealed, stream, seq, (seq < 7).then_some(seq as u64 + 1)))
        .collect();
    let next = next.map_or_else(String::new, |next| format!(",\"next\":\"{next}\""));
    let as_of = json!({ "origin": "example.com/audit", "size": 455, "root": "r" });
    ok(format!(
        "{{\"events\":[{}],\"as_of\":{as_of},\"expired_before\":\"{EXPIRED}\"{next}}}",
        events.join(",")
    ))
}

#[test]
fn every_page_of_a_query_is_listed_in_every_form() {
    let (sealed, streams) = Sealed::three_streams();
    let (sealed, asked) = (Arc::new(sealed), Arc::new(Mutex::new(Vec::new())));
    let (log, paths) = (Arc::clone(&sealed), Arc::clone(&asked));
    let stream = streams[0].clone();
    let address = start(move |path| {
        paths.lock().unwrap().push(path.to_owned());
        page(&log, &stream, path)
    });
    let line = "audit query SERVER --symbol SPX --from 2026-01-01T00:00:00Z --kind security";
    let json = run(&sealed, &address, &format!("{line} --json"))
        .ends_with(0)
        .json();
    let seqs: Vec<u64> = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (0..8).collect::<Vec<u64>>());
    assert_eq!(
        (&json["as_of"]["size"], &json["next"]),
        (&455.into(), &Value::Null)
    );
    assert_eq!(json["expired_before"], EXPIRED);
    assert_eq!(
        asked.lock().unwrap()[..2],
        [
            "/v1/audit/events?format=json&symbol=SPX&kind=security&limit=1000&from=2026-01-01T00%3A00%3A00Z",
            "/v1/audit/events?format=json&symbol=SPX&kind=security&limit=1000&cursor=3",
        ]
    );
    let run_line = |rest: &str| run(&sealed, &address, &format!("{line} {rest}")).ends_with(0);
    let notes = format!(
        "note: 8 events, 1 of them not sealed yet, as of tree size 455\n\
         note: events before {EXPIRED} are found no more: a copy of the log has them\n"
    );
    let ndjson = run_line("--format ndjson");
    let lines: Vec<&str> = ndjson.stdout.lines().collect();
    assert_eq!(lines.len(), 8);
    // The signed bytes stand in each line.
    let entry = String::from_utf8(streams[0].records[5].entry.clone()).unwrap();
    assert!(lines[5].contains(&entry), "{}", lines[5]);
    assert_eq!(ndjson.stderr, notes);
    let csv = run_line("--format csv");
    assert!(csv.stdout.starts_with("seq,text,sealed\r\n0,"), "{csv:?}");
    assert_eq!(csv.stdout.matches("seq,text").count(), 1);
    assert_eq!(csv.stderr, notes);
    let table = run_line("--limit 4");
    assert_eq!(
        table.stdout.lines().count(),
        6,
        "whole pages of this server: {table:?}"
    );
    assert!(
        table.stderr.ends_with("note: there are more: --cursor 6\n"),
        "{table:?}"
    );
    let last = table.stdout.lines().nth(3).unwrap();
    assert!(
        last.starts_with("2023-11-14T22:13:20.000003Z security                #4  0101"),
        "{last}"
    );
}

#[test]
fn a_query_that_breaks_off_says_where_to_go_on() {
    let (sealed, streams) = Sealed::three_streams();
    let (sealed, stream) = (Arc::new(sealed), streams[0].clone());
    let log = Arc::clone(&sealed);
    let address = start(move |path| {
        if path.contains("cursor=3") {
            refuse(503, "store.unavailable")
        } else {
            page(&log, &stream, path)
        }
    });
    let broken = run(&sealed, &address, "audit query SERVER --format ndjson").ends_with(4);
    assert_eq!(broken.stdout.lines().count(), 3);
    assert!(
        broken.stderr.contains("go on with --cursor 3"),
        "{broken:?}"
    );
    // What the server says of a wrong question is said.
    let address = start(|_| refuse(400, "query.range_too_wide"));
    let (exit, code, _) = run(&sealed, &address, "audit query SERVER --json").failure();
    assert_eq!((exit, code.as_str()), (1, "query.range_too_wide"));
    for wrong in [
        "--from yesterday",
        "--model spx",
        "--last soon",
        "--limit 0",
    ] {
        let (exit, ..) = run(
            &sealed,
            &address,
            &format!("audit query SERVER --json {wrong}"),
        )
        .failure();
        assert_eq!(exit, 2, "{wrong}");
    }
    let (exit, ..) = run_in(sealed.temp.path(), "audit query --json").failure();
    assert_eq!(exit, 2, "nobody asks without a token");
    // A cursor that was refused is nothing to go on with.
    let address = start(|_| refuse(400, "query.cursor_invalid"));
    let refused = run(&sealed, &address, "audit query SERVER --cursor x").ends_with(1);
    assert!(!refused.stderr.contains("go on"), "{refused:?}");
}

/// An answer with these events.
fn answer_with(events: &[String]) -> Response {
    let as_of = json!({ "origin": "o", "size": 455, "root": "r" });
    ok(format!(
        "{{\"events\":[{}],\"as_of\":{as_of}}}",
        events.join(",")
    ))
}

/// The parameter `from` of a question.
fn from_of(path: &str) -> Option<std::time::SystemTime> {
    let (_, rest) = path.split_once("from=")?;
    let from = rest.split('&').next()?.replace("%3A", ":");
    Some(humantime::parse_rfc3339(&from).unwrap())
}

#[test]
fn a_query_says_which_time_it_was_about_and_reaches_back_as_far_as_clocks_do() {
    let (sealed, _) = Sealed::three_streams();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&asked);
    let address = start(move |path| {
        paths.lock().unwrap().push(from_of(path));
        answer_with(&[])
    });
    let none = run(&sealed, &address, "audit query SERVER").ends_with(0);
    assert_eq!(
        none.stderr,
        "note: 0 events of the last hour (--last, --from), 0 of them not sealed yet, as of tree size 455\n"
    );
    let line = "audit query SERVER --until 2026-01-01T00:00:00Z";
    let none = run(&sealed, &address, line).ends_with(0).stderr;
    let said = "note: 0 events of the hour before --until (--last, --from)";
    assert!(none.starts_with(said), "{none}");
    let long = run(&sealed, &address, "audit query SERVER --last 100years").ends_with(0);
    assert!(long.stderr.starts_with("note: 0 events, "), "{long:?}");
    assert_eq!(
        *asked.lock().unwrap(),
        [None, None, Some(std::time::SystemTime::UNIX_EPOCH)]
    );
}

/// `audit tail` of a server that answers so.
fn tail(sealed: &Sealed, address: &str, rest: &[&str]) -> std::process::Child {
    fs::write(sealed.path("token"), "auditor-token\n").unwrap();
    let line = ["audit", "tail", "--interval-ms", "100", "--server"];
    command()
        .args(line)
        .arg(format!("http://{address}"))
        .arg("--token-file")
        .arg(sealed.path("token"))
        .args(rest)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ends_within(child: &mut std::process::Child, limit: Duration) -> Option<i32> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    panic!("it runs on after {limit:?}");
}

#[test]
fn what_is_recorded_while_an_answer_takes_long_is_asked_for_again() {
    let (sealed, _) = Sealed::three_streams();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&asked);
    let address = start(move |path| {
        if let Some(from) = from_of(path) {
            let first = {
                let mut times = times.lock().unwrap();
                times.push((std::time::SystemTime::now(), from));
                times.len() == 1
            };
            if first {
                std::thread::sleep(Duration::from_secs(4));
            }
        }
        answer_with(&[])
    });
    let mut child = tail(&sealed, &address, &["--last", "5m"]);
    let started = Instant::now();
    while asked.lock().unwrap().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let asked = asked.lock().unwrap().clone();
    let reaches_back = asked[0].0.duration_since(asked[1].1).unwrap();
    assert!(reaches_back >= Duration::from_secs(9), "{reaches_back:?}");
}

#[test]
fn following_ends_with_its_reader_although_nothing_happens() {
    let (sealed, streams) = Sealed::three_streams();
    let events = [event(&sealed, &streams[0], 0, None)];
    let address = start(move |_| answer_with(&events));
    let mut child = tail(&sealed, &address, &["--last", "5m"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    assert_eq!(ends_within(&mut child, Duration::from_secs(10)), Some(0));
}

#[test]
fn following_is_interrupted_although_its_reader_does_not_read() {
    let (sealed, streams) = Sealed::three_streams();
    let events: Vec<String> = (0..150)
        .map(|seq| event(&sealed, &streams[0], seq, None))
        .collect();
    let round = AtomicUsize::new(0);
    // New times each round: more than a pipe holds.
    let address = start(move |_| {
        let round = round.fetch_add(1, Ordering::Relaxed);
        let year = format!("\"2{round:03}-11-14T");
        let events: Vec<String> = events
            .iter()
            .map(|event| event.replace("\"2023-11-14T", &year))
            .collect();
        answer_with(&events)
    });
    let mut child = tail(&sealed, &address, &["--last", "5m"]);
    std::thread::sleep(Duration::from_secs(3));
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    assert_eq!(ends_within(&mut child, Duration::from_secs(10)), Some(0));
}

#[test]
fn new_events_are_followed_once_each_over_a_restart_of_the_server() {
    let (sealed, streams) = Sealed::three_streams();
    fs::write(sealed.path("token"), "auditor-token\n").unwrap();
    let shown = Arc::new(AtomicUsize::new(2));
    let sealed = Arc::new(sealed);
    // All that was recorded so far is answered each time, as the overlap of the times makes it.
    let handler: Handler = {
        let (sealed, shown, stream) = (Arc::clone(&sealed), Arc::clone(&shown), streams[0].clone());
        Arc::new(move |path| {
            assert!(path.starts_with("/v1/audit/events?format=json"), "{path}");
            let count = shown.load(Ordering::SeqCst);
            let events: Vec<String> = (0..count)
                .map(|seq| {
                    let now = std::time::SystemTime::now() + Duration::from_mins(1);
                    let time = humantime::format_rfc3339_micros(now).to_string();
                    // Times of now, so that they are within what is asked for again.
                    let event = event(&sealed, &stream, seq, None);
                    let time = time[..11].to_owned() + "23:59:59.000000Z";
                    event.replace(&format!("2023-11-14T22:13:20.00000{seq}Z"), &time)
                })
                .collect();
            let as_of = json!({ "origin": "o", "size": 455, "root": "r" });
            ok(format!(
                "{{\"events\":[{}],\"as_of\":{as_of}}}",
                events.join(",")
            ))
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let alive = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let gate: Handler = {
        let (alive, handler) = (Arc::clone(&alive), Arc::clone(&handler));
        Arc::new(move |path| {
            if alive.load(Ordering::SeqCst) {
                handler(path)
            } else {
                refuse(503, "server.stopping")
            }
        })
    };
    serve(listener, gate);
    let token = sealed.path("token");
    let mut child = command()
        .args([
            "audit",
            "tail",
            "--format",
            "ndjson",
            "--interval-ms",
            "100",
            "--server",
        ])
        .arg(format!("http://{address}"))
        .arg("--token-file")
        .arg(token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["seq"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((next(), next()), (0, 1));
    shown.store(4, Ordering::SeqCst);
    assert_eq!((next(), next()), (2, 3));
    alive.store(false, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(400));
    shown.store(5, Ordering::SeqCst);
    alive.store(true, Ordering::SeqCst);
    assert_eq!(next(), 4);
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(lines.next().is_none());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(
        said.contains("asking again") && said.contains("the server answers again"),
        "{said}"
    );
}
