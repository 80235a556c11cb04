//! `sealcast audit query`: what was recorded, by what it is about.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use serde_json::json;
use serde_json::value::RawValue;

use crate::ask::{self, Client};
use crate::events::{AsOf, EventLine, FilterArguments, Question, before, write_time};
use crate::failure::{Exit, Failure};
use crate::output::{self, Form, Report};
use crate::sealed_log::ApiArguments;

/// Where a server is expected that nobody named.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// List events by time, symbol, model, request id and kind; every page of them.
#[derive(Debug, Args)]
pub(crate) struct QueryArguments {
    #[command(flatten)]
    api: ApiArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// The earliest time, RFC 3339 in UTC; an hour ago by default.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<String>,
    /// The time that they are before, RFC 3339 in UTC; now by default.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<String>,
    /// Instead of --from: how long ago, for example 15m or 2days.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "from")]
    last: Option<Duration>,
    /// Most events; all by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier query ended; with the same filters.
    #[arg(long, conflicts_with_all = ["from", "until", "last"])]
    cursor: Option<String>,
    /// The form: lines for people, one JSON object, a JSON object a line, or CSV.
    #[arg(long, value_enum, default_value = "table")]
    format: QueryFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum QueryFormat {
    Table,
    Json,
    Ndjson,
    Csv,
}

fn parse_time(text: &str) -> Result<String, String> {
    humantime::parse_rfc3339(text)
        .map(|_| text.to_owned())
        .map_err(|_| "expected RFC 3339 in UTC, for example 2026-11-22T13:00:00Z".to_owned())
}

/// The client of the server that was named, or of the one on this machine.
pub(super) fn open(api: &ApiArguments) -> Result<Client, Failure> {
    let server = match &api.server {
        Some(server) => server.clone(),
        None => ask::parse_address(DEFAULT_SERVER).map_err(Failure::internal)?,
    };
    api.client(&server)
}

/// What was printed so far.
#[derive(Default)]
struct Listed {
    events: u64,
    unsealed: u64,
    as_of: Option<AsOf>,
    next: Option<String>,
}

/// Lists the events.
pub(crate) fn run(arguments: &QueryArguments, form: Form) -> Result<Report, Failure> {
    let client = open(&arguments.api)?;
    let last = arguments.last;
    let from = last.map(|last| write_time(before(SystemTime::now(), last)));
    let question = Question {
        filter: arguments.filter.clone(),
        from: from.or_else(|| arguments.from.clone()),
        until: arguments.until.clone(),
        cursor: arguments.cursor.clone(),
    };
    let format = if form == Form::Json && arguments.format == QueryFormat::Table {
        QueryFormat::Json
    } else {
        arguments.format
    };
    let range = [&arguments.from, &arguments.until, &arguments.cursor];
    let default_range = last.is_none() && range.iter().all(|given| given.is_none());
    let finish = |listed| finish(listed, default_range);
    match format {
        QueryFormat::Json => collect(&client, question, arguments.limit),
        QueryFormat::Csv => finish(list_csv(&client, question, arguments.limit)),
        QueryFormat::Ndjson => finish(list(&client, question, arguments.limit, |event| {
            Ok(event.get().to_owned())
        })),
        QueryFormat::Table => finish(list(&client, question, arguments.limit, |event| {
            Ok(EventLine::parse(event)?.describe())
        })),
    }
}

/// One object with all events.
fn collect(client: &Client, mut question: Question, limit: Option<u64>) -> Result<Report, Failure> {
    let mut events: Vec<Box<RawValue>> = Vec::new();
    let mut first: Option<AsOf> = None;
    loop {
        let left = limit.map(|limit| limit - events.len() as u64);
        let page = question.ask(client, left)?;
        let as_of = first.get_or_insert(page.as_of).clone();
        events.extend(page.events);
        question.cursor = page.next;
        let full = limit.is_some_and(|limit| events.len() as u64 >= limit);
        if full || question.cursor.is_none() {
            let mut value = json!({ "events": [], "as_of": as_of });
            if let Some(next) = &question.cursor {
                value["next"] = next.clone().into();
            }
            // The events stand in it character by character as they came.
            let events: Vec<&str> = events.iter().map(|event| event.get()).collect();
            let frame = output::to_json(&value)?;
            let whole = frame.replacen(
                "\"events\":[]",
                &format!("\"events\":[{}]", events.join(",")),
                1,
            );
            return Ok(Report::document(whole.clone(), whole));
        }
    }
}

/// Prints each event as it comes.
fn list(
    client: &Client,
    mut question: Question,
    limit: Option<u64>,
    describe: impl Fn(&RawValue) -> Result<String, Failure>,
) -> Result<Listed, Failure> {
    let mut listed = Listed::default();
    loop {
        let left = limit.map(|limit| limit - listed.events);
        let page = question
            .ask(client, left)
            .map_err(|failure| go_on(failure, &question))?;
        listed.as_of.get_or_insert(page.as_of);
        let mut lines = String::new();
        for event in &page.events {
            lines.push_str(&describe(event)?);
            lines.push('\n');
            listed.events += 1;
            listed.unsealed += u64::from(!EventLine::parse(event)?.sealed);
        }
        if !print(&lines)? {
            return Ok(listed);
        }
        question.cursor = page.next;
        listed.next.clone_from(&question.cursor);
        let full = limit.is_some_and(|limit| listed.events >= limit);
        if full || question.cursor.is_none() {
            return Ok(listed);
        }
    }
}

fn list_csv(
    client: &Client,
    mut question: Question,
    limit: Option<u64>,
) -> Result<Listed, Failure> {
    let mut listed = Listed::default();
    loop {
        let left = limit.map(|limit| limit - listed.events);
        let page = question
            .ask_csv(client, left)
            .map_err(|failure| go_on(failure, &question))?;
        if listed.as_of.is_none() {
            print(&format!("{}\r\n", page.header))?;
        }
        let size = page.as_of.unwrap_or_default();
        listed.as_of.get_or_insert_with(|| AsOf {
            origin: String::new(),
            size,
            root: String::new(),
        });
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(page.lines.as_bytes());
        let at = page.header.split(',').position(|name| name == "sealed");
        for row in rows.records().filter_map(Result::ok) {
            listed.events += 1;
            listed.unsealed += u64::from(at.and_then(|at| row.get(at)) == Some("false"));
        }
        if !print(&page.lines)? {
            return Ok(listed);
        }
        question.cursor = page.next;
        listed.next.clone_from(&question.cursor);
        let full = limit.is_some_and(|limit| listed.events >= limit);
        if full || question.cursor.is_none() {
            return Ok(listed);
        }
    }
}

/// Says where a query goes on that was interrupted after some of its pages.
fn go_on(failure: Failure, question: &Question) -> Failure {
    match &question.cursor {
        Some(cursor) if failure.exit == Exit::Unavailable => Failure {
            message: format!("{}; go on with --cursor {cursor}", failure.message),
            ..failure
        }
        .with("cursor", cursor.clone()),
        _ => failure,
    }
}

/// Prints whole lines. False where the reader has seen enough.
pub(super) fn print(lines: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unavailable(
            "file.unavailable",
            format!("standard output: {error}"),
        )),
    }
}

/// Says, beside the events, as of when they are.
fn finish(listed: Result<Listed, Failure>, default_range: bool) -> Result<Report, Failure> {
    let listed = listed?;
    let size = listed.as_of.map_or(0, |as_of| as_of.size);
    let range = if default_range {
        " of the last hour (--last, --from)"
    } else {
        ""
    };
    output::note(format!(
        "{} events{range}, {} of them not sealed yet, as of tree size {size}",
        listed.events, listed.unsealed
    ));
    if let Some(next) = listed.next {
        output::note(format!("there are more: --cursor {next}"));
    }
    Ok(Report::silent())
}
