//! Puts what was spilled where it belongs.

use std::collections::BTreeSet;
use std::sync::Arc;

use audit::event::Security;
use audit::{EventBody, Record, SignedRegistration, StreamFault, StreamId};

use super::item::{SpillContent, SpillItem, SpillName};
use crate::StoreError;
use crate::ports::{AuditReader, AuditRestorer, Clock, SpillReader, SpillRemover};

/// Names that are listed at once.
const PAGE: usize = 500;

/// Streams in a row that the log could not be asked about, after which a run ends: the log is not there.
const MAX_FAILURES: usize = 3;

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

impl From<ReplayFinding> for EventBody {
    /// The security event that says it.
    fn from(finding: ReplayFinding) -> Self {
        Self::Security(Security {
            code: finding.code.to_owned(),
            subject: finding.subject,
            detail: finding.detail,
        })
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
    /// True where everything in the spill was looked at.
    pub complete: bool,
}

/// Replays what is in the spill: each stream's registration first, then its records in order, each item removed once
/// the log has acknowledged it. Cut short at any point and repeated, it has no other effect.
///
/// Ends after about `limit` items, or when `deadline_us` (microseconds since 1970) has come. What cannot be replayed
/// holds up no other stream.
///
/// # Errors
/// [`StoreError`] where the spill cannot be listed. What was done until then stands.
pub async fn replay(
    ports: &ReplayPorts,
    limit: usize,
    deadline_us: u64,
) -> Result<ReplayReport, StoreError> {
    // A run that always began at the same stream would, where many wait and time is short, never get further.
    let middle = format!("{:02x}", ports.clock.now_us() / 1_000_000 % 256);
    let mut run = Run {
        ports,
        report: ReplayReport::default(),
        left: limit,
        deadline_us,
        failures: 0,
    };
    let ended = run.part(&middle, None).await? || run.part("", Some(&middle)).await?;
    run.report.complete = !ended;
    Ok(run.report)
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
        .map(|name| name.events())
        .sum();
    Ok(SpillSummary {
        items: names.len(),
        events,
        set_aside: reader.set_aside_count(limit).await?,
    })
}

struct Run<'a> {
    ports: &'a ReplayPorts,
    report: ReplayReport,
    left: usize,
    deadline_us: u64,
    failures: usize,
}

/// What becomes of the rest of a stream after one of its items.
enum Next {
    Item,
    Stream,
}

impl Run<'_> {
    /// Replays what is named after `from`, and before `until`; true where the run must end.
    async fn part(&mut self, from: &str, until: Option<&str>) -> Result<bool, StoreError> {
        let mut after = from.to_owned();
        loop {
            let names = self.ports.reader.list(&after, PAGE).await?;
            let Some(last) = names.last().cloned() else {
                return Ok(false);
            };
            after = last;
            let mut passed_over = None;
            for name in &names {
                if until.is_some_and(|until| name.as_str() > until) {
                    return Ok(false);
                }
                if self.is_over() {
                    return Ok(true);
                }
                let parsed = SpillName::parse(name);
                let stream = parsed.map(|name| name.stream());
                if stream.is_some() && stream == passed_over {
                    continue;
                }
                match parsed {
                    None => self.set_aside_foreign(name).await,
                    Some(parsed) => {
                        if matches!(self.item(parsed).await, Next::Stream) {
                            passed_over = stream;
                        }
                    }
                }
            }
            if let Some(stream) = passed_over {
                after = after.max(SpillName::after_stream(stream));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0
            || self.failures >= MAX_FAILURES
            || self.ports.clock.now_us() >= self.deadline_us
    }

    async fn item(&mut self, name: SpillName) -> Next {
        let text = name.to_string();
        let bytes = match self.ports.reader.read(&text).await {
            Ok(bytes) => bytes,
            // Another run was faster.
            Err(StoreError::NotFound(_)) => return Next::Item,
            Err(StoreError::Corrupt(reason)) => {
                return self
                    .set_aside(&text, "unread", "spill.item_unreadable", reason)
                    .await;
            }
            Err(error) => return self.fail(name.stream(), error),
        };
        let tag = artifact::Sha256Digest::of(&bytes).to_string();
        let item = match SpillItem::parse(&text, &bytes) {
            Ok(item) => item,
            Err(fault) => {
                let detail = fault.to_string();
                return self
                    .set_aside(&text, &tag, "spill.item_unreadable", detail)
                    .await;
            }
        };
        match item.content() {
            SpillContent::Registration(signed) => self.registration(name, signed, &tag).await,
            SpillContent::Records(records) => self.records(name, records, &tag).await,
        }
    }

    async fn registration(
        &mut self,
        name: SpillName,
        signed: &SignedRegistration,
        tag: &str,
    ) -> Next {
        match self.ports.restorer.restore_registration(signed).await {
            Ok(()) => self.remove(name).await,
            Err(StoreError::Conflict(reason)) => {
                let text = name.to_string();
                self.set_aside(&text, tag, "spill.registration_taken", reason)
                    .await
            }
            Err(error) => self.fail(name.stream(), error),
        }
    }

    async fn records(&mut self, name: SpillName, records: &[Record], tag: &str) -> Next {
        let (stream, text) = (name.stream(), name.to_string());
        let signed = match self.ports.log.registration(stream).await {
            Ok(signed) => signed,
            Err(StoreError::NotFound(_)) => {
                return self.wait(stream, records, "the stream's registration".to_owned());
            }
            Err(error) => return self.fail(stream, error),
        };
        // A record that is none must not take the place of one.
        match audit::verify::check_signatures(&signed, records) {
            Ok(()) => {}
            Err(fault @ StreamFault::Signature(_)) => {
                let detail = fault.to_string();
                return self
                    .set_aside(&text, tag, "spill.signature_invalid", detail)
                    .await;
            }
            Err(fault) => return self.wait(stream, records, fault.to_string()),
        }
        match self.ports.restorer.restore(records).await {
            Ok(()) => self.remove(name).await,
            Err(StoreError::NotFound(missing)) => self.wait(stream, records, missing),
            Err(StoreError::Conflict(reason)) => {
                self.set_aside(&text, tag, "spill.position_taken", reason)
                    .await
            }
            Err(error) => self.fail(stream, error),
        }
    }

    /// The item is in the log.
    async fn remove(&mut self, name: SpillName) -> Next {
        self.failures = 0;
        self.left = self.left.saturating_sub(1);
        self.report.streams.insert(name.stream());
        match self.ports.remover.remove(&name).await {
            Ok(()) => {
                self.report.items += 1;
                self.report.events += name.events();
            }
            // It is replayed once more, without effect.
            Err(error) => self.report.failed.push((name.stream(), error)),
        }
        Next::Item
    }

    fn wait(&mut self, stream: StreamId, records: &[Record], missing: String) -> Next {
        self.failures = 0;
        let first = records.first().map_or(0, |record| record.seq);
        tracing::warn!(code = "spill.event_missing", audit.stream = %stream, audit.seq = first, missing, "spilled events wait for what comes before them");
        self.report.waiting.push(WaitingStream {
            stream,
            first,
            missing,
        });
        Next::Stream
    }

    fn fail(&mut self, stream: StreamId, error: StoreError) -> Next {
        self.failures += 1;
        self.report.failed.push((stream, error));
        Next::Stream
    }

    async fn set_aside_foreign(&mut self, name: &str) {
        let detail = "no item has such a name".to_owned();
        self.set_aside(name, "unread", "spill.item_unreadable", detail)
            .await;
    }

    /// Moves what can never be replayed out of the way, and says so.
    async fn set_aside(
        &mut self,
        name: &str,
        tag: &str,
        code: &'static str,
        detail: String,
    ) -> Next {
        self.left = self.left.saturating_sub(1);
        let detail: String = detail.chars().take(500).collect();
        if let Err(error) = self.ports.remover.set_aside(name, tag).await {
            tracing::error!(code, spill.item = name, error = %error, "an item of the spill was not set aside");
            return Next::Item;
        }
        tracing::error!(code, spill.item = name, detail, "an item of the spill was set aside");
        self.report.findings.push(ReplayFinding {
            code,
            subject: name.chars().take(200).collect(),
            detail,
        });
        Next::Item
    }
}
