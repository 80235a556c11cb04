//! `sealcast audit query`: what was recorded, by what it is about.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use serde_json::json;
use serde_json::value::RawValue;

use crate::ask::{self, Client};
use crate::events::{
    AsOf, CsvPage, EventLine, FilterArguments, Page, Question, before, write_time,
};
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
    tree_size: Option<u64>,
    next: Option<String>,
    expired_before: Option<String>,
}

/// A page, as it is printed.
struct Printed {
    lines: String,
    events: u64,
    unsealed: u64,
    tree_size: u64,
    next: Option<String>,
    expired_before: Option<String>,
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
    let range = match (&arguments.from, &arguments.cursor, last) {
        (None, None, None) if arguments.until.is_some() => {
            " of the hour before --until (--last, --from)"
        }
        (None, None, None) => " of the last hour (--last, --from)",
        _ => "",
    };
    let finish = |listed| finish(listed, range);
    match format {
        QueryFormat::Json => collect(&client, question, arguments.limit),
        QueryFormat::Csv => {
            let mut begun = false;
            finish(list(question, arguments.limit, |question, left| {
                let page = question.ask_csv(&client, left)?;
                Ok(print_csv(page, std::mem::replace(&mut begun, true)))
            }))
        }
        QueryFormat::Ndjson => finish(list(question, arguments.limit, |question, left| {
            let page = question.ask(&client, left)?;
            print_page(page, |event, _| event.get().to_owned())
        })),
        QueryFormat::Table => finish(list(question, arguments.limit, |question, left| {
            let page = question.ask(&client, left)?;
            print_page(page, |_, line| line.describe())
        })),
    }
}

/// One object with all events.
fn collect(client: &Client, mut question: Question, limit: Option<u64>) -> Result<Report, Failure> {
    let mut events: Vec<Box<RawValue>> = Vec::new();
    let mut first: Option<AsOf> = None;
    let mut expired_before: Option<String> = None;
    loop {
        let left = limit.map(|limit| limit - events.len() as u64);
        let page = question.ask(client, left)?;
        let as_of = first.get_or_insert(page.as_of).clone();
        expired_before = expired_before.or(page.expired_before);
        events.extend(page.events);
        question.cursor = page.next;
        let full = limit.is_some_and(|limit| events.len() as u64 >= limit);
        if full || question.cursor.is_none() {
            let mut value = json!({ "events": [], "as_of": as_of });
            if let Some(next) = &question.cursor {
                value["next"] = next.clone().into();
            }
            if let Some(time) = expired_before {
                value["expired_before"] = time.into();
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

/// Prints each page as it comes.
fn list(
    mut question: Question,
    limit: Option<u64>,
    mut ask: impl FnMut(&Question, Option<u64>) -> Result<Printed, Failure>,
) -> Result<Listed, Failure> {
    let mut listed = Listed::default();
    loop {
        let left = limit.map(|limit| limit - listed.events);
        let page = ask(&question, left).map_err(|failure| go_on(failure, &question))?;
        listed.tree_size.get_or_insert(page.tree_size);
        listed.expired_before = listed.expired_before.or(page.expired_before);
        listed.events += page.events;
        listed.unsealed += page.unsealed;
        if !print(&page.lines)? {
            return Ok(listed);
        }
        question.cursor.clone_from(&page.next);
        listed.next = page.next;
        let full = limit.is_some_and(|limit| listed.events >= limit);
        if full || question.cursor.is_none() {
            return Ok(listed);
        }
    }
}

/// A line for each event.
fn print_page(
    page: Page,
    describe: impl Fn(&RawValue, &EventLine) -> String,
) -> Result<Printed, Failure> {
    let mut printed = Printed {
        lines: String::new(),
        events: page.events.len() as u64,
        unsealed: 0,
        tree_size: page.as_of.size,
        next: page.next,
        expired_before: page.expired_before,
    };
    for event in &page.events {
        let line = EventLine::parse(event)?;
        printed.lines.push_str(&describe(event, &line));
        printed.lines.push('\n');
        printed.unsealed += u64::from(!line.sealed);
    }
    Ok(printed)
}

/// The rows as they came, below the names of the columns where nothing was printed yet.
fn print_csv(page: CsvPage, begun: bool) -> Printed {
    let mut printed = Printed {
        lines: String::new(),
        events: 0,
        unsealed: 0,
        tree_size: page.as_of.unwrap_or_default(),
        next: page.next,
        expired_before: page.expired_before,
    };
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(page.lines.as_bytes());
    let at = page.header.split(',').position(|name| name == "sealed");
    for row in rows.records().filter_map(Result::ok) {
        printed.events += 1;
        printed.unsealed += u64::from(at.and_then(|at| row.get(at)) == Some("false"));
    }
    printed.lines = if begun {
        page.lines
    } else {
        format!("{}\r\n{}", page.header, page.lines)
    };
    printed
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
fn finish(listed: Result<Listed, Failure>, range: &str) -> Result<Report, Failure> {
    let listed = listed?;
    let size = listed.tree_size.unwrap_or_default();
    output::note(format!(
        "{} events{range}, {} of them not sealed yet, as of tree size {size}",
        listed.events, listed.unsealed
    ));
    if let Some(time) = listed.expired_before {
        output::note(format!(
            "events before {time} are found no more: a copy of the log has them"
        ));
    }
    if let Some(next) = listed.next {
        output::note(format!("there are more: --cursor {next}"));
    }
    Ok(Report::silent())
}
