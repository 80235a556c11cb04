//! Puts what was spilled where it belongs.

mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artifact::Sha256Digest;
use audit::StreamId;
use audit::event::Security;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{StreamExt, iter};

use self::stream::replay_stream;
use super::item::SpillName;
use crate::StoreError;
use crate::ports::{AuditReader, AuditRestorer, Clock, SpillReader, SpillRemover};

/// Names that are listed at once.
const PAGE: usize = 500;

/// Streams that are replayed at once.
const STREAMS_AT_ONCE: usize = 8;

/// Streams that the log could not be asked about, with none between that it could, after which a run ends: the log is
/// not there.
const MAX_FAILURES: usize = 3;

/// Marks what was set aside and could not be read whole.
const UNREAD: &str = "unread";

/// What a replay needs.
#[derive(Clone)]
pub struct ReplayPorts {
    /// Reads the spill.
    pub reader: Arc<dyn SpillReader>,
    /// Takes away what was replayed.
    pub remover: Arc<dyn SpillRemover>,
    /// Writes into streams.
    pub restorer: Arc<dyn AuditRestorer>,
    /// Reads registrations, for the streams' keys.
    pub log: Arc<dyn AuditReader>,
    /// Says when time is up.
    pub clock: Arc<dyn Clock>,
}

/// Something in the spill that only a fault or an attack explains. It was set aside, or is left where it can never
/// be taken for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayFinding {
    /// Stable code: `spill.item_unreadable`, `spill.signature_invalid`, `spill.position_taken`,
    /// `spill.registration_taken`.
    pub code: &'static str,
    /// The item's name.
    pub subject: String,
    /// One sentence.
    pub detail: String,
}

impl From<ReplayFinding> for Security {
    /// The security event that says it.
    fn from(finding: ReplayFinding) -> Self {
        Self {
            code: finding.code.to_owned(),
            subject: finding.subject,
            detail: finding.detail,
        }
    }
}

/// A stream whose items wait for what comes before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingStream {
    /// The stream.
    pub stream: StreamId,
    /// The first record in the spill that cannot be replayed yet.
    pub first: u64,
    /// What is missing.
    pub missing: String,
}

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Items that are in the log and no longer in the spill.
    pub items: usize,
    /// Events in them.
    pub events: u64,
    /// The streams that they belong to: their hour of registration may be long past.
    pub streams: BTreeSet<StreamId>,
    /// What was found besides. Each is a security event.
    pub findings: Vec<ReplayFinding>,
    /// Streams that wait. Of a stream whose earlier items are in a process's log only, the rest waits until those are
    /// imported.
    pub waiting: Vec<WaitingStream>,
    /// Streams that could not be replayed in this run, and why.
    pub failed: Vec<(StreamId, StoreError)>,
    /// Why the spill could not be listed, or not to its end. All else in the report stands.
    pub unlisted: Option<StoreError>,
    /// True where everything in the spill was looked at.
    pub complete: bool,
}

/// Replays what is in the spill: each stream's registration first, then its records in order, each item removed once
/// the log has acknowledged it. Cut short at any point and repeated, it has no other effect.
///
/// Ends after about `limit` items, or when `deadline_us` (microseconds since 1970) has come. What cannot be replayed
/// holds up no other stream. Where the spill cannot be listed the report says so, beside what was done until then.
pub async fn replay(ports: &ReplayPorts, limit: usize, deadline_us: u64) -> ReplayReport {
    // A run that always began at the same stream would, where many wait and time is short, never get further.
    let middle = format!("{:02x}", ports.clock.now_us() / 1_000_000 % 256);
    let mut run = Run {
        ports,
        report: ReplayReport::default(),
        bounds: Bounds {
            left: AtomicUsize::new(limit),
            failures: AtomicUsize::new(0),
            deadline_us,
        },
    };
    match run.whole(&middle).await {
        Ok(ended) => run.report.complete = !ended,
        Err(error) => run.report.unlisted = Some(error),
    }
    run.report
}

/// What is in the spill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpillSummary {
    /// Items that wait to be replayed; no more than were asked for.
    pub items: usize,
    /// Events in them.
    pub events: u64,
    /// Objects that were set aside; no more than were asked for.
    pub set_aside: usize,
}

/// Counts what is in the spill, up to `limit` items.
///
/// # Errors
/// [`StoreError`] where it cannot be listed.
pub async fn summarize(reader: &dyn SpillReader, limit: usize) -> Result<SpillSummary, StoreError> {
    let names = reader.list("", limit).await?;
    let events = names
        .iter()
        .filter_map(|name| SpillName::parse(name))
        // Nobody has held the names against what is under them yet.
        .fold(0, |sum: u64, name| sum.saturating_add(name.events()));
    Ok(SpillSummary {
        items: names.len(),
        events,
        set_aside: reader.set_aside_count(limit).await?,
    })
}

struct Run<'a> {
    ports: &'a ReplayPorts,
    report: ReplayReport,
    bounds: Bounds,
}

/// Until when a run goes on.
struct Bounds {
    /// Items that it may still take.
    left: AtomicUsize,
    /// Failures since the last success.
    failures: AtomicUsize,
    deadline_us: u64,
}

impl Bounds {
    fn is_over(&self, now_us: u64) -> bool {
        self.left.load(Ordering::Relaxed) == 0
            || self.failures.load(Ordering::Relaxed) >= MAX_FAILURES
            || now_us >= self.deadline_us
    }

    /// Takes up to `wanted` items; gives how many it may.
    fn take(&self, wanted: usize) -> usize {
        let take = |left: usize| Some(left.saturating_sub(wanted));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.unwrap_or(0).min(wanted)
    }

    fn give_back(&self, unused: usize) {
        self.left.fetch_add(unused, Ordering::Relaxed);
    }

    fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was done about one stream.
#[derive(Default)]
struct Part {
    items: usize,
    events: u64,
    findings: Vec<ReplayFinding>,
    waiting: Option<WaitingStream>,
    failed: Vec<StoreError>,
    /// Whether something of it came into the log.
    replayed: bool,
    /// Whether the rest of the stream is left for another run.
    left: bool,
}

impl Part {
    /// Items that are done with.
    fn done(&self) -> usize {
        self.items + self.findings.len() + self.failed.len()
    }
}

impl Run<'_> {
    /// Replays everything, first what is named after `middle`; true where the run must end before that is done.
    async fn whole(&mut self, middle: &str) -> Result<bool, StoreError> {
        Ok(self.part(middle, None).await? || self.part("", Some(middle)).await?)
    }

    /// Replays what is named after `from`, and before `until`; true where the run must end.
    async fn part(&mut self, from: &str, until: Option<&str>) -> Result<bool, StoreError> {
        let mut after = from.to_owned();
        loop {
            let mut names = self.ports.reader.list(&after, PAGE).await?;
            names.retain(|name| until.is_none_or(|until| name.as_str() <= until));
            let Some(last) = names.last() else {
                return Ok(false);
            };
            after.clone_from(last);
            let mut groups: Vec<(StreamId, Vec<SpillName>)> = Vec::new();
            for name in &names {
                match (SpillName::parse(name), groups.last_mut()) {
                    (None, _) => self.set_aside_foreign(name).await,
                    (Some(name), Some((stream, group))) if *stream == name.stream() => {
                        group.push(name);
                    }
                    (Some(name), _) => groups.push((name.stream(), vec![name])),
                }
            }
            let last = groups.last().map(|(stream, _)| *stream);
            let (ports, bounds) = (self.ports, &self.bounds);
            let replays = groups.into_iter().map(|(stream, names)| {
                let replay =
                    async move { (stream, replay_stream(ports, bounds, stream, &names).await) };
                replay.boxed()
            });
            let replays: Vec<BoxFuture<'_, (StreamId, Part)>> = replays.collect();
            let replayed: Vec<(StreamId, Part)> = iter(replays)
                .buffer_unordered(STREAMS_AT_ONCE)
                .collect()
                .await;
            for (stream, part) in replayed {
                // What follows of a stream that has to wait is on the next page.
                if part.left && last == Some(stream) {
                    after = after.max(SpillName::after_stream(stream));
                }
                self.add(stream, part);
            }
            if self.bounds.is_over(self.ports.clock.now_us()) {
                return Ok(true);
            }
        }
    }

    fn add(&mut self, stream: StreamId, part: Part) {
        let report = &mut self.report;
        report.items += part.items;
        report.events += part.events;
        report.findings.extend(part.findings);
        report.waiting.extend(part.waiting);
        let failed = part.failed.into_iter().map(|error| (stream, error));
        report.failed.extend(failed);
        if part.replayed {
            report.streams.insert(stream);
        }
    }

    async fn set_aside_foreign(&mut self, name: &str) {
        if self.bounds.is_over(self.ports.clock.now_us()) || self.bounds.take(1) == 0 {
            return;
        }
        let tag = match self.ports.reader.read(name).await {
            Ok(bytes) => tag_of(&bytes),
            Err(StoreError::Corrupt(_)) => UNREAD.to_owned(),
            // Another run was faster.
            Err(StoreError::NotFound(_)) => return,
            // Another run may read it, and mark it as what it is.
            Err(error) => {
                self.bounds.give_back(1);
                tracing::warn!(spill.item = name, error = %error, "what is no item of the spill could not be read yet");
                return;
            }
        };
        let detail = "no item has such a name";
        let found = set_aside(self.ports, name, &tag, "spill.item_unreadable", detail).await;
        self.report.findings.extend(found);
    }
}

/// What marks bytes that were set aside: others that come under the same name do not take their place.
fn tag_of(bytes: &[u8]) -> String {
    Sha256Digest::of(bytes).to_string()
}

/// Moves what can never be replayed out of the way, and says so; nothing where that failed.
async fn set_aside(
    ports: &ReplayPorts,
    name: &str,
    tag: &str,
    code: &'static str,
    detail: &str,
) -> Option<ReplayFinding> {
    let detail: String = detail.chars().take(500).collect();
    if let Err(error) = ports.remover.set_aside(name, tag).await {
        tracing::error!(code, spill.item = name, error = %error, "an item of the spill was not set aside");
        return None;
    }
    let subject: String = name.chars().take(200).collect();
    tracing::error!(
        code,
        spill.item = subject,
        detail,
        "an item of the spill was set aside"
    );
    Some(ReplayFinding {
        code,
        subject,
        detail,
    })
}
