//! Events as an API gives them, page by page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use artifact::Symbol;
use clap::Args;
use domain::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::arguments::ModelLabel;
use crate::ask::{Client, Fetched};
use crate::failure::Failure;
use crate::output::printable;
use crate::sealed_log::persist;

const ROUTE: &str = "/v1/audit/events";
/// Longest page that is read, in bytes.
const MAX_PAGE: u64 = 256 << 20;
/// Most events that are asked for at once, as objects.
const MAX_OBJECTS: u64 = 1000;
/// Most events that are asked for at once, as lines of CSV.
const MAX_LINES: u64 = 10_000;

/// Which events.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArguments {
    /// Only events about this market symbol.
    #[arg(long, value_parser = Symbol::parse)]
    symbol: Option<Symbol>,
    /// Only events about this version of a model.
    #[arg(long, value_name = "NAME@VERSION", value_parser = ModelLabel::parse)]
    model: Option<ModelLabel>,
    /// Only events about this request.
    #[arg(long, value_name = "ID", value_parser = parse_request_id)]
    request_id: Option<RequestId>,
    /// Only events of this kind: `prediction`, `refusal`, `security`, …
    #[arg(long)]
    pub(crate) kind: Option<String>,
}

fn parse_request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).map_err(|error| error.to_string())
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) filter: FilterArguments,
    /// Earliest time, RFC 3339.
    pub(crate) from: Option<String>,
    /// The time that they are before, RFC 3339.
    pub(crate) until: Option<String>,
    /// Where an earlier question is to go on.
    pub(crate) cursor: Option<String>,
}

/// As of which tree an answer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AsOf {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: String,
}

/// Some of the events.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) events: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next: Option<String>,
    /// Before which time events are found no more, where the question begins before it.
    #[serde(default)]
    pub(crate) expired_before: Option<String>,
    pub(crate) as_of: AsOf,
}

/// Some of the events as lines of CSV, behind a line with the columns' names.
#[derive(Debug)]
pub(crate) struct CsvPage {
    pub(crate) header: String,
    pub(crate) lines: String,
    pub(crate) next: Option<String>,
    pub(crate) expired_before: Option<String>,
    pub(crate) as_of: Option<u64>,
}

impl Question {
    /// The route that asks for at most `limit` events, with its parameters.
    fn route(&self, format: &str, limit: u64) -> String {
        let FilterArguments {
            symbol,
            model,
            request_id,
            kind,
        } = &self.filter;
        let mut given: Vec<(&str, String)> = vec![("format", format.to_owned())];
        let mut give = |name, value: Option<String>| given.extend(value.map(|value| (name, value)));
        give("symbol", symbol.as_ref().map(ToString::to_string));
        give("model", model.as_ref().map(ToString::to_string));
        give("request_id", request_id.as_ref().map(ToString::to_string));
        give("kind", kind.clone());
        give("limit", Some(limit.to_string()));
        if let Some(cursor) = &self.cursor {
            // A cursor knows its range.
            give("cursor", Some(cursor.clone()));
        } else {
            give("from", self.from.clone());
            give("until", self.until.clone());
        }
        let pairs: Vec<String> = given
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        format!("{ROUTE}?{}", pairs.join("&"))
    }

    /// Asks once for the first page from the cursor on.
    pub(crate) fn ask_once(
        &self,
        client: &Client,
        limit: Option<u64>,
    ) -> Result<(Page, Fetched), Failure> {
        let route = self.route("json", limit.unwrap_or(MAX_OBJECTS).min(MAX_OBJECTS));
        let fetched = client.get(&route, MAX_PAGE)?;
        let page = serde_json::from_slice(&fetched.body).map_err(|error| {
            let message = format!("GET {}{ROUTE}: {error}", client.address());
            Failure::unavailable("network.no_answer", message).at("--server")
        })?;
        Ok((page, fetched))
    }

    /// Asks for the first page from the cursor on, until there is an answer.
    pub(crate) fn ask(&self, client: &Client, limit: Option<u64>) -> Result<Page, Failure> {
        persist(|| self.ask_once(client, limit)).map(|(page, _)| page)
    }

    /// As [`ask`](Self::ask), as lines.
    pub(crate) fn ask_csv(&self, client: &Client, limit: Option<u64>) -> Result<CsvPage, Failure> {
        let route = self.route("csv", limit.unwrap_or(MAX_LINES).min(MAX_LINES));
        let fetched = persist(|| client.get(&route, MAX_PAGE))?;
        let header = |name| fetched.header(name).map(str::to_owned);
        let (next, expired_before) = (header("sealcast-next"), header("sealcast-expired-before"));
        let size = fetched.header("sealcast-tree-size");
        let as_of = size.and_then(|size| size.parse().ok());
        let text = String::from_utf8(fetched.body).ok();
        let (header, lines) = text
            .as_deref()
            .and_then(|text| text.split_once("\r\n"))
            .ok_or_else(|| {
                let message = format!("GET {}{ROUTE}: expected CSV", client.address());
                Failure::unavailable("network.no_answer", message).at("--server")
            })?;
        Ok(CsvPage {
            header: header.to_owned(),
            lines: lines.to_owned(),
            next,
            expired_before,
            as_of,
        })
    }
}

/// A time some span before another; the beginning of 1970 where that is earlier than clocks know.
pub(crate) fn before(time: SystemTime, span: Duration) -> SystemTime {
    let before = time.checked_sub(span).unwrap_or(UNIX_EPOCH);
    before.max(UNIX_EPOCH)
}

/// A time as questions have it.
pub(crate) fn write_time(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

/// A value in the query of an address.
fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// What of an event is shown to people.
#[derive(Debug, Deserialize)]
pub(crate) struct EventLine {
    pub(crate) stream: audit::StreamId,
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) sealed: bool,
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    fault: Option<Value>,
    #[serde(default)]
    entry: Value,
}

impl EventLine {
    pub(crate) fn parse(event: &RawValue) -> Result<Self, Failure> {
        serde_json::from_str(event.get()).map_err(|error| {
            let message = format!("an event of the answer cannot be read: {error}");
            Failure::unavailable("network.no_answer", message).at("--server")
        })
    }

    pub(crate) fn kind(&self) -> &str {
        self.entry["kind"].as_str().unwrap_or("unreadable")
    }

    pub(crate) fn time(&self) -> &str {
        self.entry["time"].as_str().unwrap_or("?")
    }

    /// One line: time, kind, place in the log, what it is about, receipt's beginning.
    pub(crate) fn describe(&self) -> String {
        let sealed = self
            .index
            .map_or_else(|| "unsealed".to_owned(), |index| format!("#{index}"));
        let data = &self.entry["data"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let model = |value: &Value| {
            let (name, version) = (value["name"].as_str()?, value["version"].as_str()?);
            Some(format!("{name}@{version}"))
        };
        let symbols = data["symbols"]["values"].as_array().map(|values| {
            let mut shown: Vec<&str> = values.iter().filter_map(Value::as_str).take(4).collect();
            if values.len() > 4 {
                shown[3] = "…";
            }
            shown.join(" ")
        });
        let about = [
            text(&data["principal"]),
            text(&data["action"]),
            text(&data["release"]).filter(|_| matches!(self.kind(), "release" | "model_access")),
            text(&data["route"]),
            text(&data["software"]).or_else(|| text(&data["reason"])),
            model(&data["requested"])
                .or_else(|| model(&data["model"]))
                .or_else(|| text(&data["model"])),
            text(&data["symbol"]).or(symbols),
            text(&data["outcome"]),
            text(&data["code"]),
            text(&data["subject"]),
            text(&data["of_request"]).or_else(|| text(&data["request_id"])),
            self.fault
                .as_ref()
                .map(|fault| format!("FAULT {}", fault["code"].as_str().unwrap_or_default())),
        ];
        let about: Vec<String> = about
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect();
        let line = format!(
            "{:<27} {:<15} {sealed:>10}  {}:{}  {}",
            self.time(),
            self.kind(),
            self.stream,
            self.seq,
            about.join(" ")
        );
        // A label is whatever a caller reported.
        printable(&line, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_into_the_address() {
        let filter = FilterArguments {
            symbol: Some(Symbol::parse("SPX").unwrap()),
            model: Some(ModelLabel::parse("spx-direction@1.0.0").unwrap()),
            request_id: Some(RequestId::parse("a/b&c").unwrap()),
            kind: None,
        };
        let mut question = Question {
            filter,
            from: Some("2026-01-01T00:00:00Z".to_owned()),
            until: None,
            cursor: None,
        };
        assert_eq!(
            question.route("json", 100),
            "/v1/audit/events?format=json&symbol=SPX&model=spx-direction%401.0.0&request_id=a%2Fb%26c&limit=100\
             &from=2026-01-01T00%3A00%3A00Z"
        );
        question.cursor = Some("c".to_owned());
        assert!(
            question
                .route("csv", 7)
                .ends_with("request_id=a%2Fb%26c&limit=7&cursor=c")
        );
    }

    #[test]
    fn a_line_says_what_an_event_is_about() {
        let stream = "0".repeat(32);
        let event = format!(
            r#"{{"stream":"{stream}","seq":3,"sealed":true,"index":9,"entry":{{"kind":"refusal","time":"2026-01-01T00:00:00.000000Z","data":{{"principal":"anna","code":"input.range","symbol":"SPX"}}}}}}"#
        );
        let raw = RawValue::from_string(event).unwrap();
        let line = EventLine::parse(&raw).unwrap();
        assert_eq!(
            line.describe(),
            format!(
                "2026-01-01T00:00:00.000000Z refusal                 #9  {stream}:3  anna SPX input.range"
            )
        );
        let event = format!(
            r#"{{"stream":"{stream}","seq":3,"entry":{{"kind":"release","data":{{"action":"activate","outcome":"done","principal":"anna","release":"r-000002"}}}}}}"#
        );
        let line = EventLine::parse(&RawValue::from_string(event).unwrap()).unwrap();
        let shown = line.describe();
        assert!(shown.ends_with("  anna activate r-000002 done"), "{shown}");
        for (kind, data, ends) in [
            (
                "model_access",
                r#"{"model":"m@1.0.0","outcome":"loaded","release":"r-000001"}"#,
                "  r-000001 m@1.0.0 loaded",
            ),
            (
                "security",
                r#"{"code":"auth.role_missing","subject":"anna"}"#,
                "  auth.role_missing anna",
            ),
            (
                "process_started",
                r#"{"software":"sealcast server 0.1.0"}"#,
                "  sealcast server 0.1.0",
            ),
            (
                "outcome",
                r#"{"of_request":"doc-1","outcome":"buy","request_id":"9"}"#,
                "  buy doc-1",
            ),
        ] {
            let event = format!(
                r#"{{"stream":"{stream}","seq":3,"entry":{{"kind":"{kind}","data":{data}}}}}"#
            );
            let line = EventLine::parse(&RawValue::from_string(event).unwrap()).unwrap();
            let shown = line.describe();
            assert!(shown.ends_with(ends), "{shown}");
        }
        // Of several lines it would be taken for several events.
        let forged = format!(
            r#"{{"stream":"{stream}","seq":3,"entry":{{"kind":"outcome","time":"t","data":{{"outcome":"a\nb\u001b[2J"}}}}}}"#
        );
        let line = EventLine::parse(&RawValue::from_string(forged).unwrap()).unwrap();
        assert!(
            line.describe().ends_with(r"  a\nb\u{1b}[2J"),
            "{}",
            line.describe()
        );
    }
}
