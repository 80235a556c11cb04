//! Asking a server, whose part a thread of the test plays.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

use tempfile::{TempDir, tempdir};

use crate::support::{Run, run_in};

/// A request as it arrived.
struct Received {
    head: String,
    body: String,
}

/// Answers one request with these bytes.
fn serve(response: &str) -> (String, JoinHandle<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let response = response.to_owned();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.into_inner().write_all(response.as_bytes()).unwrap();
        Received {
            head,
            body: String::from_utf8(body).unwrap(),
        }
    });
    (address, thread)
}

fn respond(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
    )
}

const ANSWER: &str = r#"{"request_id":"a","release":"r-000001","model":"spx-direction","model_version":"1.0.0","answered_by":"spx-direction@1.0.0","symbol":"SPX","label":"hold","probabilities":{"sell":0.1,"hold":0.5,"buy":0.4},"degraded":false,"fallback_level":0,"receipt":{"stream":"s","seq":1,"leaf_hash":"h"}}"#;

fn prepare() -> TempDir {
    let temp = tempdir().unwrap();
    std::fs::write(temp.path().join("t"), "secret-token\n").unwrap();
    temp
}

fn predict(dir: &Path, address: &str, rest: &str) -> Run {
    run_in(
        dir,
        &format!("predict --addr http://{address} --token-file {{}}/t {rest}"),
    )
}

#[test]
fn a_question_is_asked_and_its_answer_printed_with_the_receipt() {
    let temp = prepare();
    let (address, server) = serve(&respond("200 OK", "sealcast-receipt: s:1:h\r\n", ANSWER));
    let rest = "--symbol SPX --model spx-direction --request-id a --row ret_1d=0.10 rsi_14=null";
    let run = predict(temp.path(), &address, rest).ends_with(0);
    let received = server.join().unwrap();
    assert!(
        received.head.starts_with("POST /v1/predict HTTP/1.1\r\n"),
        "{}",
        received.head
    );
    assert!(
        received
            .head
            .to_ascii_lowercase()
            .contains("authorization: bearer secret-token\r\n")
    );
    // Numbers are sent as they were written.
    assert_eq!(
        received.body,
        r#"{"symbol":"SPX","features":{"ret_1d":0.10,"rsi_14":null},"request_id":"a","model":"spx-direction"}"#
    );
    assert!(run.stdout.contains("label              hold\n"), "{run:?}");
    assert!(run.stdout.contains("  sell  0.1\n"), "{run:?}");
    assert!(run.stdout.contains("receipt            s:1:h\n"), "{run:?}");
    assert!(!run.stdout.contains("degraded"), "{run:?}");
}

#[test]
fn an_explanation_is_asked_for_and_printed_by_size() {
    let explanation = r#"{"method":"linear","outputs":[{"class":"hold","expectation":0.25,"score":0.5,"contributions":{"a":0.05,"b":-0.5,"c":0.7}}]}"#;
    let unavailable =
        r#"{"unavailable":{"code":"explain.no_model","reason":"no model gave this answer"}}"#;
    for (explanation, expected) in [
        (
            explanation,
            "explained by       linear\nscore of hold 0.5, on average 0.25\n  c  0.7\n  b  -0.5\n  a  0.05\n",
        ),
        (
            unavailable,
            "explanation        not available: no model gave this answer\n",
        ),
    ] {
        let temp = prepare();
        let answer = format!(
            "{},\"explanation\":{explanation}}}",
            ANSWER.strip_suffix('}').unwrap()
        );
        let (address, server) = serve(&respond("200 OK", "", &answer));
        let run = predict(temp.path(), &address, "--explain --row a=1").ends_with(0);
        assert_eq!(
            server.join().unwrap().body,
            r#"{"features":{"a":1},"explain":true}"#
        );
        assert!(run.stdout.contains(expected), "{run:?}");
    }
}

#[test]
fn the_answer_is_printed_to_machines_as_it_came() {
    let temp = prepare();
    std::fs::write(temp.path().join("f.json"), "[1, 2.50]").unwrap();
    let (address, server) = serve(&respond("200 OK", "", ANSWER));
    let run = predict(temp.path(), &address, "--features {}/f.json --json").ends_with(0);
    assert_eq!(server.join().unwrap().body, r#"{"features":[1, 2.50]}"#);
    assert_eq!(run.stdout.trim_end(), ANSWER);
    let (address, server) = serve(&respond("200 OK", "sealcast-replayed: true\r\n", ANSWER));
    let run = predict(temp.path(), &address, "--features {}/f.json --json").ends_with(0);
    server.join().unwrap();
    assert_eq!(
        (&run.json()["replayed"], &run.json()["label"]),
        (&true.into(), &"hold".into())
    );
}

#[test]
fn a_whole_body_goes_to_its_route() {
    let temp = prepare();
    for (body, options, route) in [
        (r#"{"features":[1]}"#, "", "/v1/predict"),
        (r#"{"rows":[]}"#, "", "/v1/predict/batch"),
        (r#"{"inputs":[]}"#, "--model m", "/v2/models/m/infer"),
        (
            r#"{"inputs":[]}"#,
            "--model m --model-version 1.0.0",
            "/v2/models/m/versions/1.0.0/infer",
        ),
    ] {
        std::fs::write(temp.path().join("b.json"), body).unwrap();
        let (address, server) = serve(&respond("200 OK", "", "{}"));
        predict(
            temp.path(),
            &address,
            &format!("--body {{}}/b.json {options}"),
        )
        .ends_with(0);
        let received = server.join().unwrap();
        assert!(
            received.head.starts_with(&format!("POST {route} HTTP")),
            "{}",
            received.head
        );
        assert_eq!(received.body, body);
    }
    let run = predict(temp.path(), "127.0.0.1:1", "--body {}/b.json --json");
    assert_eq!(run.failure().0, 2);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let temp = prepare();
    let body = r#"{"error":"features.rsi_14: 120 is above 100","code":"input.out_of_range","field":"features.rsi_14","request_id":"a"}"#;
    for (status, exit) in [
        ("400 Bad Request", 1),
        ("404 Not Found", 3),
        ("503 Unavailable", 4),
    ] {
        let (address, server) = serve(&respond(status, "", body));
        let run = predict(temp.path(), &address, "--row rsi_14=120 --json").ends_with(exit);
        server.join().unwrap();
        let json = run.json();
        assert_eq!(json["error"], "features.rsi_14: 120 is above 100");
        assert_eq!(
            (&json["code"], &json["field"]),
            (&"input.out_of_range".into(), &"features.rsi_14".into())
        );
        assert_eq!(json["request_id"], "a");
    }
    let (address, server) = serve(&respond("400 Bad Request", "", body));
    let run = predict(temp.path(), &address, "--row rsi_14=120").ends_with(1);
    server.join().unwrap();
    assert_eq!(
        run.stderr,
        "error: features.rsi_14: 120 is above 100 [input.out_of_range]\n"
    );
    assert_eq!(run.stdout, "");
    // A field that the sentence leaves out is put before it.
    let body = r#"{"error":"missing","code":"input.missing_tensor","field":"features.ret_1d"}"#;
    let (address, server) = serve(&respond("400 Bad Request", "", body));
    let run = predict(temp.path(), &address, "--row rsi_14=50").ends_with(1);
    server.join().unwrap();
    assert_eq!(
        run.stderr,
        "error: features.ret_1d: missing [input.missing_tensor]\n"
    );
}

#[test]
fn a_degraded_answer_says_so_in_either_protocol() {
    let temp = prepare();
    let fields =
        r#""answered_by":"neutral","degraded":true,"fallback_level":3,"reason":"model.panicked""#;
    for body in [
        format!("{{{fields}}}"),
        format!("{{\"parameters\":{{{fields}}}}}"),
    ] {
        let (address, server) = serve(&respond("200 OK", "", &body));
        let run = predict(temp.path(), &address, "--row a=1").ends_with(0);
        server.join().unwrap();
        assert!(
            run.stdout.contains("answered by        neutral\n"),
            "{run:?}"
        );
        assert!(
            run.stdout
                .contains("degraded           level 3: model.panicked\n"),
            "{run:?}"
        );
    }
}

#[test]
fn what_is_no_answer_is_no_answer() {
    let temp = prepare();
    let (address, server) = serve(&respond("200 OK", "", "<html>"));
    let run = predict(temp.path(), &address, "--row a=1 --json");
    server.join().unwrap();
    assert_eq!(
        (run.failure().0, run.failure().1.as_str()),
        (4, "network.no_answer")
    );
    let (address, server) = serve(&respond("502 Bad Gateway", "", "<html>"));
    let run = predict(temp.path(), &address, "--row a=1 --json");
    server.join().unwrap();
    assert_eq!(
        (run.failure().0, run.failure().1.as_str()),
        (4, "http.status")
    );
    // Nobody listens on a port that was just given back.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let run = predict(temp.path(), &free, "--row a=1 --json");
    assert_eq!(
        (run.failure().0, run.failure().1.as_str()),
        (4, "network.unavailable")
    );
}

#[test]
fn a_server_that_is_silent_is_waited_for_only_so_long() {
    let temp = prepare();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = predict(temp.path(), &address, "--row a=1 --timeout-ms 200 --json");
    assert_eq!(
        (run.failure().0, run.failure().1.as_str()),
        (4, "network.unavailable")
    );
}

#[test]
fn a_question_that_makes_no_sense_is_not_sent() {
    let temp = prepare();
    let dir = temp.path();
    std::fs::write(dir.join("whole.json"), r#"{"features":[1]}"#).unwrap();
    std::fs::write(dir.join("text.json"), r#""x""#).unwrap();
    let refused = |rest: &str| {
        let (exit, code, error) = predict(dir, "127.0.0.1:1", &format!("{rest} --json")).failure();
        assert!(!error.is_empty());
        (exit, code)
    };
    assert_eq!(refused(""), (2, "usage".to_owned()));
    assert_eq!(refused("--row a=x"), (2, "usage".to_owned()));
    assert_eq!(refused("--row a=1 a=2"), (2, "usage".to_owned()));
    assert_eq!(
        refused("--row a=1 --body {}/whole.json"),
        (2, "usage".to_owned())
    );
    assert_eq!(refused("--features {}/whole.json"), (2, "usage".to_owned()));
    assert_eq!(
        refused("--features {}/text.json"),
        (1, "request.field_type".to_owned())
    );
    assert_eq!(
        refused("--features {}/t"),
        (1, "request.malformed_json".to_owned())
    );
    assert_eq!(
        refused("--features {}/absent.json"),
        (3, "file.not_found".to_owned())
    );
    for line in [
        "predict --row a=1 --json",
        "predict --sigv4 --token-file {}/t --row a=1 --json",
        "predict --addr http://127.0.0.1:1/?a --token-file {}/t --row a=1 --json",
    ] {
        assert_eq!(run_in(dir, line).failure().0, 2, "{line}");
    }
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_speaks_no_https_and_signs_nothing() {
    let temp = prepare();
    for line in [
        "predict --addr https://example.com --token-file {}/t --row a=1 --json",
        "predict --addr http://127.0.0.1:1 --sigv4 --row a=1 --json",
    ] {
        let (exit, code, error) = run_in(temp.path(), line).failure();
        assert_eq!((exit, code.as_str()), (2, "usage"), "{line}");
        assert!(
            error.contains("cargo install --locked --path cli --features aws"),
            "{error}"
        );
    }
}

#[test]
fn a_path_of_a_gateway_stands_before_the_route() {
    let temp = prepare();
    let (address, server) = serve(&respond("200 OK", "", ANSWER));
    let gateway = format!("{address}/_aws/execute-api/a1b2/$default/jwt/");
    predict(temp.path(), &gateway, "--row a=1").ends_with(0);
    let head = server.join().unwrap().head;
    assert!(
        head.starts_with("POST /_aws/execute-api/a1b2/$default/jwt/v1/predict HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("authorization: Bearer secret-token\r\n"),
        "{head}"
    );
}

#[cfg(feature = "aws")]
#[test]
fn a_signed_request_carries_a_signature_and_no_secret() {
    let (address, server) = serve(&respond("200 OK", "", ANSWER));
    let output = crate::support::command()
        .args(["predict", "--sigv4", "--row", "a=1", "--addr", &address])
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "not-to-be-seen")
        .env("AWS_SESSION_TOKEN", "a-session")
        .env("AWS_REGION", "eu-central-1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let Received { head, body } = server.join().unwrap();
    assert_eq!(body, r#"{"features":{"a":1}}"#);
    let signature = head.lines().find_map(|line| {
        line.strip_prefix("authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    });
    let signature = signature.unwrap_or_else(|| panic!("{head}"));
    assert!(
        signature.contains(
            "/eu-central-1/execute-api/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature="
        ),
        "{head}"
    );
    assert!(
        head.contains("x-amz-security-token: a-session\r\n"),
        "{head}"
    );
    assert!(!head.contains("not-to-be-seen"), "{head}");
}

#[cfg(feature = "aws")]
#[test]
fn a_server_without_tls_is_not_asked_by_https() {
    let temp = prepare();
    let (address, server) = serve_nothing();
    let line = format!("predict --addr https://{address} --token-file {{}}/t --row a=1 --json");
    let (exit, code, error) = run_in(temp.path(), &line).failure();
    assert_eq!((exit, code.as_str()), (4, "network.unavailable"), "{error}");
    let sent = server.join().unwrap();
    let sent = String::from_utf8_lossy(&sent);
    assert!(!sent.contains("secret-token"), "{sent}");
}

/// Says something that is no TLS to whoever connects, and gives what it was sent.
#[cfg(feature = "aws")]
fn serve_nothing() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        let mut sent = Vec::new();
        let _ = stream.read_to_end(&mut sent);
        sent
    });
    (address, thread)
}
