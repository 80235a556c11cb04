//! Asking a running server: one request, its answer or its refusal.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::{Exit, Failure};
use crate::files;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// What a server answered with status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body: one JSON object, as it came.
    pub(crate) body: Box<RawValue>,
    /// Header `sealcast-receipt`.
    pub(crate) receipt: Option<String>,
    /// Whether it is a recorded answer, given again.
    pub(crate) replayed: bool,
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    code: Option<String>,
    field: Option<String>,
    request_id: Option<String>,
}

/// Reads the one token of a file.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let token = files::read_text(path, MAX_TOKEN_FILE)?.trim().to_owned();
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    }
    let message = format!(
        "{}: expected one token of visible ASCII characters",
        path.display()
    );
    Err(Failure::refused("token.file_malformed", message).at("--token-file"))
}

/// The address with its scheme; only plain HTTP is spoken.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    let (scheme, host) = text.split_once("://").unwrap_or(("http", text));
    let host = host.trim_end_matches('/');
    match scheme {
        "http" if !host.is_empty() => Ok(format!("http://{host}")),
        "https" => Err(
            "https is not spoken here: put a TLS proxy on this machine before the server"
                .to_owned(),
        ),
        _ => Err("expected an address such as http://127.0.0.1:8080".to_owned()),
    }
}

/// Posts `body` and gives the answer; every other status than 200 is a failure.
pub(crate) fn ask(
    url: &str,
    token: &str,
    body: &[u8],
    timeout: Duration,
) -> Result<Answer, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        // The server is named by its address; a proxy of the environment is for other destinations.
        .proxy(None)
        .user_agent(concat!("sealcast/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let unreachable = |error: ureq::Error| {
        Failure::unavailable("network.unavailable", format!("POST {url}: {error}")).at("--addr")
    };
    let mut response = agent
        .post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .send(body)
        .map_err(unreachable)?;
    let status = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let receipt = header("sealcast-receipt");
    let replayed = header("sealcast-replayed").is_some_and(|value| value == "true");
    let text = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string()
        .map_err(unreachable)?;
    if status != 200 {
        return Err(refusal(url, status, &text));
    }
    match serde_json::from_str::<Box<RawValue>>(&text) {
        Ok(body) if body.get().starts_with('{') => Ok(Answer {
            body,
            receipt,
            replayed,
        }),
        _ => {
            let message = format!("POST {url}: expected a JSON object, found something else");
            Err(Failure::unavailable("network.no_answer", message).at("--addr"))
        }
    }
}

fn refusal(url: &str, status: u16, text: &str) -> Failure {
    let exit = match status {
        404 => Exit::NotFound,
        429 | 500.. => Exit::Unavailable,
        _ => Exit::Refused,
    };
    let mut failure = if let Ok(refusal) = serde_json::from_str::<Refusal>(text) {
        let code = refusal.code.as_deref().unwrap_or("http.status");
        let mut failure = Failure::refused(code, refusal.error);
        failure.field = refusal.field;
        match refusal.request_id {
            Some(id) => failure.with("request_id", id),
            None => failure,
        }
    } else {
        let message = format!("POST {url}: expected an answer, found HTTP status {status}");
        Failure::refused("http.status", message)
    };
    failure.exit = exit;
    failure.with("status", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme_but_not_be_https() {
        assert_eq!(
            parse_address("127.0.0.1:8080/").unwrap(),
            "http://127.0.0.1:8080"
        );
        assert_eq!(parse_address("http://a/base").unwrap(), "http://a/base");
        for bad in ["https://a", "ftp://a", "http://", ""] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_status_decides_how_the_process_ends() {
        let exit = |status| refusal("u", status, "<html>").exit;
        assert_eq!(exit(400), Exit::Refused);
        assert_eq!(exit(404), Exit::NotFound);
        assert_eq!(exit(503), Exit::Unavailable);
        assert_eq!(exit(302), Exit::Refused);
    }
}
