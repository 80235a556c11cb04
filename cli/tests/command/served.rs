//! A prediction of a running server, followed into the sealed log and out of it again.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Run, command, run_in};

/// The server of this build, which stands beside the command; stopped when dropped.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(data: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_sealcast")).with_file_name("server");
        assert!(
            program.exists(),
            "no {}: `cargo build --workspace --bins` makes it",
            program.display()
        );
        let addr = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let log = File::create(data.join("server.log")).unwrap();
        let child = Command::new(program)
            .env("SEALCAST_ADDR", addr.to_string())
            .env("SEALCAST_DATA", data)
            .env("SEALCAST_SEAL_INTERVAL", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, addr }
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + Duration::from_mins(1);
        while !self.is_ready() {
            assert!(Instant::now() < until, "the server is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        let request = b"GET /v2/health/ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let mut answer = [0; 12];
        TcpStream::connect(self.addr)
            .and_then(|mut stream| {
                stream.write_all(request)?;
                stream.read_exact(&mut answer)
            })
            .is_ok()
            && &answer == b"HTTP/1.1 200"
    }

    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys, a released model, and a token of each role.
fn prepare(dir: &Path) {
    for line in [
        "keygen --data {}/data",
        "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {}/data --out {}/sealed",
        "push {}/sealed --data {}/data",
        "release create --data {}/data --live spx-direction@1.0.0 --created-by anna",
        "release activate r-000001 --data {}/data",
        "token create --data {}/data --principal desk --role predictor --out {}/desk.token",
        "token create --data {}/data --principal audit --role auditor --out {}/auditor.token",
    ] {
        run_in(dir, line).ends_with(0);
    }
    let key = run_in(dir, "key show log --data {}/data")
        .ends_with(0)
        .stdout;
    assert!(key.starts_with("sealcast.local+"), "{key}");
    fs::write(dir.join("log.vkey"), key).unwrap();
}

struct Session<'a> {
    dir: &'a Path,
    addr: SocketAddr,
}

impl Session<'_> {
    fn run(&self, line: &str) -> Run {
        let server = format!(
            "--server http://{} --token-file {{}}/auditor.token",
            self.addr
        );
        let keys = "--key {}/log.vkey --key {}/data/keys/stream-registration.pub.pem";
        run_in(
            self.dir,
            &line.replace("SERVER", &server).replace("KEYS", keys),
        )
    }

    /// Predicts once; gives the receipt.
    fn predict(&self, id: &str) -> String {
        let line = format!(
            "predict --addr http://{} --token-file {{}}/desk.token --symbol SPX --request-id {id} --json --features {{}}/f.json",
            self.addr
        );
        let receipt = run_in(self.dir, &line).ends_with(0).json()["receipt"].clone();
        let text = |name: &str| receipt[name].to_string().replace('"', "");
        format!("{}:{}:{}", text("stream"), text("seq"), text("leaf_hash"))
    }
}

#[test]
fn a_prediction_is_queried_proven_and_verified_in_the_sealed_log_of_a_running_server() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let request = fs::read(crate::support::example("request-v1.json")).unwrap();
    let request: Value = serde_json::from_slice(&request).unwrap();
    fs::write(dir.join("f.json"), request["features"].to_string()).unwrap();
    let mut server = Server::start(&dir.join("data"));
    let session = Session {
        dir,
        addr: server.addr,
    };

    server.wait_until_ready();
    let first = session.predict("first");
    let proven = session
        .run(&format!(
            "audit prove {first} SERVER KEYS --out {{}} --name first --wait 60 --json"
        ))
        .ends_with(0)
        .json();
    assert_eq!(proven["checkpoint"]["origin"], "sealcast.local");
    let offline = session
        .run("audit verify {}/first.json --proof {}/first.tlog-proof KEYS --json")
        .ends_with(0)
        .json();
    assert_eq!(offline["event"]["data"]["request_id"], "first");
    session
        .run("audit checkpoint SERVER KEYS --out {}/kept")
        .ends_with(0);

    let found = session
        .run("audit query SERVER --request-id first --json")
        .ends_with(0)
        .json();
    let event = &found["events"][0];
    assert_eq!(
        (&event["entry"]["kind"], &event["sealed"]),
        (&"prediction".into(), &true.into()),
        "{found}"
    );
    assert_eq!(event["index"], proven["index"]);
    let csv = session
        .run("audit query SERVER --kind prediction --symbol SPX --format csv")
        .ends_with(0);
    assert_eq!(csv.stdout.lines().count(), 2, "{csv:?}");
    let denied = run_in(
        dir,
        &format!(
            "audit query --server http://{} --token-file {{}}/desk.token --json",
            server.addr
        ),
    );
    assert_eq!(denied.failure().0, 1);

    let second = session.predict("second");
    session
        .run(&format!(
            "audit prove {second} SERVER KEYS --out {{}} --name second --wait 60"
        ))
        .ends_with(0);
    let line = format!("audit verify SERVER KEYS --receipt {first} --receipt {second} --json");
    assert_eq!(
        session.run(&line).ends_with(0).json()["verdict"],
        "verified"
    );
    let since = session
        .run("audit verify SERVER KEYS --since {}/kept --json")
        .ends_with(0)
        .json();
    assert!(
        since["from"].as_u64().unwrap() > 0 && since["entries"].as_u64().unwrap() > 0,
        "{since}"
    );
    let whole = session
        .run("audit verify SERVER KEYS --json --mirror {}/copy")
        .ends_with(0)
        .json();
    assert_eq!(
        (&whole["verdict"], &whole["checkpoint"]["key_from"]),
        (&"verified".into(), &"given".into())
    );
    let unkeyed = session
        .run("audit checkpoint SERVER --json")
        .ends_with(0)
        .json();
    assert_eq!(unkeyed["key_from"], "server");

    tail_shows_a_prediction(dir, &session);

    server.stop();
    session.run("audit verify --log {}/copy KEYS").ends_with(0);
    let own = session
        .run("audit verify --log --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(
        (
            &own["checkpoint"]["key_from"],
            &own["registration_key_from"]
        ),
        (&"store".into(), &"store".into())
    );
    // The log's key alone does not make the other one somebody else's.
    let half = session
        .run("audit verify --log --data {}/data --key {}/log.vkey")
        .ends_with(0)
        .stdout;
    assert!(
        half.contains("but                the registration key was taken from the store itself"),
        "{half}"
    );
    let index = proven["index"].as_u64().unwrap();
    let bundle = bundle_of(
        &dir.join("data/log/tile/entries"),
        own["checkpoint"]["size"].as_u64().unwrap(),
    );
    let bytes = fs::read(&bundle).unwrap();
    let id = b"\"request_id\":\"first\"";
    let at = bytes.windows(id.len()).position(|part| part == id).unwrap();
    let mut altered = bytes.clone();
    altered[at + id.len() - 2] = b'x';
    fs::write(&bundle, altered).unwrap();
    let found = session
        .run("audit verify --log {}/data/log KEYS --json")
        .ends_with(1)
        .json();
    assert_eq!(
        (&found["faults"][0]["code"], &found["faults"][0]["index"]),
        (&"audit.entry_differs".into(), &index.into())
    );
}

/// The last bundle of entries of a log that has less than 256.
fn bundle_of(entries: &Path, size: u64) -> std::path::PathBuf {
    assert!(size < 256, "{size}");
    entries.join(format!("000.p/{size}"))
}

fn tail_shows_a_prediction(dir: &Path, session: &Session<'_>) {
    let mut child = command()
        .args([
            "audit",
            "tail",
            "--format",
            "ndjson",
            "--kind",
            "prediction",
            "--interval-ms",
            "200",
            "--server",
        ])
        .arg(format!("http://{}", session.addr))
        .arg("--token-file")
        .arg(dir.join("auditor.token"))
        .args(["--last", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["entry"]["data"]["request_id"].clone()
    };
    assert_eq!((next(), next()), ("first".into(), "second".into()));
    session.predict("third");
    assert_eq!(next(), "third");
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
