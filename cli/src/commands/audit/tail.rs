//! `sealcast audit tail`: what is recorded, as it is recorded.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, SystemTime};

use audit::StreamId;
use clap::{Args, ValueEnum};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::query::{self, print};
use crate::ask::Client;
use crate::events::{EventLine, FilterArguments, Page, Question, before, write_time};
use crate::failure::{Exit, Failure};
use crate::output::{self, Form, Report};
use crate::sealed_log::ApiArguments;

/// Events that are recorded so much later than their own time says are still seen: processes wait for a durable
/// record, and their clocks differ.
const OVERLAP: Duration = Duration::from_secs(10);
/// The longest pause while the server does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How long an interrupted line may take to be printed.
const LAST_LINE: Duration = Duration::from_secs(1);
/// The kind of the events that asking leaves.
const QUERY: &str = "query";

/// Show events as they are recorded, until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    api: ApiArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// Begin with what was recorded so long ago, for example 15m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    last: Option<Duration>,
    /// How often the server is asked, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
    interval_ms: u64,
    /// Show events of kind `query` too: this command leaves one each time that it asks.
    #[arg(long)]
    queries: bool,
    /// The form: lines for people, or a JSON object a line.
    #[arg(long, value_enum, default_value = "table")]
    format: TailFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TailFormat {
    Table,
    Ndjson,
}

/// Follows the events until it is interrupted; its lines are whole.
pub(crate) fn run(arguments: &TailArguments, form: Form) -> Result<Report, Failure> {
    let client = query::open(&arguments.api)?;
    let follower = Follower {
        client,
        filter: arguments.filter.clone(),
        interval: Duration::from_millis(arguments.interval_ms),
        last: arguments.last.unwrap_or_default(),
        queries: arguments.queries || arguments.filter.kind.as_deref() == Some(QUERY),
        objects: form == Form::Json || arguments.format == TailFormat::Ndjson,
        seen: BTreeSet::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unavailable("system.no_runtime", error.to_string()))?;
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Where nobody waits any more, it was interrupted.
        let _ = done.send(follower.follow());
    });
    runtime.block_on(async {
        tokio::select! {
            ended = ended => ended
                .unwrap_or_else(|_| Err(Failure::internal("what follows the events has stopped"))),
            _ = tokio::signal::ctrl_c() => Ok(()),
            () = reader_gone() => Ok(()),
        }
    })?;
    let (printed, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(io::stdout().lock());
        let _ = printed.send(());
    });
    // Whoever prints finishes its line, where somebody still reads it.
    let _ = finished.recv_timeout(LAST_LINE);
    Ok(Report::silent())
}

/// Ends when whoever reads standard output is gone (`| head`), also while there is nothing to print; never where that
/// cannot be told: of a file.
async fn reader_gone() {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    // Nothing is written through it: standard output stays as it is, and blocks.
    match stdout.and_then(Sender::from_owned_fd_unchecked) {
        Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
        Err(_) => std::future::pending().await,
    }
}

struct Follower {
    client: Client,
    filter: FilterArguments,
    interval: Duration,
    last: Duration,
    queries: bool,
    objects: bool,
    /// What was shown of the time that is asked for again: (time, stream, position).
    seen: BTreeSet<(String, StreamId, u64)>,
}

impl Follower {
    /// Asks again and again; ends where the reader has seen enough, or the server refuses.
    fn follow(mut self) -> Result<(), Failure> {
        // Times are the server's, so that this machine's clock does not matter.
        let (_, now) = self.ask(&self.question(None), Some(1))?;
        let mut from = before(now, self.last);
        let (mut failures, mut silent) = (0, false);
        loop {
            match self.show_since(from) {
                Ok(None) => return Ok(()),
                Ok(Some(asked_at)) => {
                    if silent {
                        output::note("the server answers again");
                    }
                    (failures, silent) = (0, false);
                    from = from.max(before(asked_at, OVERLAP));
                    let from = write_time(from);
                    self.seen.retain(|(time, ..)| *time >= from);
                    std::thread::sleep(self.interval);
                }
                Err(failure) if failure.exit == Exit::Unavailable => {
                    if !silent {
                        output::note(format!("{}; asking again", failure.message));
                    }
                    silent = true;
                    failures += 1;
                    std::thread::sleep(self.interval.saturating_mul(failures).min(MAX_PAUSE));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A page, and what the server's clock showed when it was asked for; this machine's where it does not say. An
    /// answer may take longer than what is asked for again.
    fn ask(&self, question: &Question, limit: Option<u64>) -> Result<(Page, SystemTime), Failure> {
        let started = Instant::now();
        let (page, fetched) = question.ask_once(&self.client, limit)?;
        let date = fetched.header("date");
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let answered = date.unwrap_or_else(SystemTime::now);
        Ok((page, before(answered, started.elapsed())))
    }

    fn question(&self, from: Option<SystemTime>) -> Question {
        Question {
            filter: self.filter.clone(),
            from: from.map(write_time),
            until: None,
            cursor: None,
        }
    }

    /// Shows what is new since a time; gives the server's time when it was asked, or nothing where the reader has
    /// seen enough.
    fn show_since(&mut self, from: SystemTime) -> Result<Option<SystemTime>, Failure> {
        let mut question = self.question(Some(from));
        let mut asked_at = None;
        loop {
            let (page, asked) = self.ask(&question, None)?;
            asked_at.get_or_insert(asked);
            if !print(&self.describe_new(&page)?)? {
                return Ok(None);
            }
            question.cursor = page.next;
            if question.cursor.is_none() {
                return Ok(asked_at);
            }
        }
    }

    fn describe_new(&mut self, page: &Page) -> Result<String, Failure> {
        let mut lines = String::new();
        for event in &page.events {
            let line = EventLine::parse(event)?;
            if line.kind() == QUERY && !self.queries {
                continue;
            }
            if !self
                .seen
                .insert((line.time().to_owned(), line.stream, line.seq))
            {
                continue;
            }
            if self.objects {
                lines.push_str(event.get());
            } else {
                lines.push_str(&line.describe());
            }
            lines.push('\n');
        }
        Ok(lines)
    }
}
