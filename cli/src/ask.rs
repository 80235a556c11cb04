//! Asking a running server: one request, its answer or its refusal.

#[cfg(feature = "aws")]
mod aws;
mod client;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use self::client::{Client, Fetched, Proof};
use crate::failure::{Exit, Failure};
use crate::files;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// A header's name and value.
pub(crate) type Header = (String, String);

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

/// What a gateway before the server says, when it refuses a request by itself.
#[derive(Deserialize)]
struct GatewayRefusal {
    #[serde(alias = "Message")]
    message: String,
}

/// The header that presents the one token of a file.
pub(crate) fn present_token(path: &Path) -> Result<Vec<Header>, Failure> {
    let token = read_token(path)?;
    Ok(vec![(
        "authorization".to_owned(),
        format!("Bearer {token}"),
    )])
}

/// The headers that prove, by IAM credentials, who posts `body`.
#[cfg(feature = "aws")]
pub(crate) fn sign(url: &str, body: &[u8]) -> Result<Vec<Header>, Failure> {
    aws::sign_post(url, body)
}

/// The headers that prove, by IAM credentials, who posts `body`.
#[cfg(not(feature = "aws"))]
pub(crate) fn sign(_url: &str, _body: &[u8]) -> Result<Vec<Header>, Failure> {
    Err(Failure::not_built("--sigv4", "signs no requests"))
}

fn read_token(path: &Path) -> Result<String, Failure> {
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

/// The address with its scheme, before which routes are put: it may end with a path, as a gateway's does.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    let (scheme, host) = text.split_once("://").unwrap_or(("http", text));
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.starts_with('/') || host.contains(['?', '#', ' ']) {
        return Err("expected an address such as http://127.0.0.1:8080".to_owned());
    }
    match scheme {
        "http" => Ok(format!("http://{host}")),
        "https" if cfg!(feature = "aws") => Ok(format!("https://{host}")),
        "https" => Err(
            "this build speaks no https: put a TLS proxy on this machine before the server, or install sealcast with \
             `cargo install --locked --path cli --features aws`"
                .to_owned(),
        ),
        _ => Err("expected an address such as http://127.0.0.1:8080".to_owned()),
    }
}

/// Posts `body` and gives the answer; every other status than 200 is a failure.
pub(crate) fn ask(
    url: &str,
    headers: &[Header],
    body: &[u8],
    timeout: Duration,
) -> Result<Answer, Failure> {
    let unreachable = |error: ureq::Error| {
        Failure::unavailable("network.unavailable", format!("POST {url}: {error}")).at("--addr")
    };
    let agent = new_agent(url, timeout)?;
    let mut request = agent.post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body).map_err(unreachable)?;
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
        return Err(describe_refusal("POST", url, status, &text));
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

fn new_agent(url: &str, timeout: Duration) -> Result<ureq::Agent, Failure> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        // The server is named by its address; a proxy of the environment is for other destinations.
        .proxy(None)
        .user_agent(concat!("sealcast/", env!("CARGO_PKG_VERSION")));
    #[cfg(feature = "aws")]
    let config = if url.starts_with("https:") {
        config.tls_config(aws::configure_tls()?)
    } else {
        config
    };
    #[cfg(not(feature = "aws"))]
    let _ = url;
    Ok(config.build().into())
}

/// What a status other than 200 says.
fn describe_refusal(method: &str, url: &str, status: u16, text: &str) -> Failure {
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
        let said = serde_json::from_str::<GatewayRefusal>(text);
        let said = said.map_or_else(
            |_| String::new(),
            |refusal| format!(": {}", refusal.message),
        );
        let message =
            format!("{method} {url}: expected an answer, found HTTP status {status}{said}");
        Failure::refused("http.status", message)
    };
    failure.exit = exit;
    failure.with("status", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme_and_have_a_path() {
        assert_eq!(
            parse_address("127.0.0.1:8080/").unwrap(),
            "http://127.0.0.1:8080"
        );
        assert_eq!(parse_address("http://a/base").unwrap(), "http://a/base");
        assert_eq!(
            parse_address("http://127.0.0.1:4566/_aws/execute-api/a1/$default/jwt/").unwrap(),
            "http://127.0.0.1:4566/_aws/execute-api/a1/$default/jwt"
        );
        let https = parse_address("https://a.example/dev");
        assert_eq!(https.is_ok(), cfg!(feature = "aws"), "{https:?}");
        for bad in [
            "ftp://a",
            "http://",
            "",
            "http:///v1",
            "http://a?b",
            "http://a#b",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_gateway_says_itself_is_told() {
        let failure = describe_refusal("POST", "u", 403, r#"{"message":"Forbidden"}"#);
        assert_eq!(
            failure.message,
            "POST u: expected an answer, found HTTP status 403: Forbidden"
        );
        let failure = describe_refusal(
            "POST",
            "u",
            403,
            r#"{"error":"no such role","code":"auth.forbidden"}"#,
        );
        assert_eq!(failure.message, "no such role");
    }

    #[test]
    fn a_status_decides_how_the_process_ends() {
        let exit = |status| describe_refusal("POST", "u", status, "<html>").exit;
        assert_eq!(exit(400), Exit::Refused);
        assert_eq!(exit(404), Exit::NotFound);
        assert_eq!(exit(503), Exit::Unavailable);
        assert_eq!(exit(302), Exit::Refused);
    }
}
