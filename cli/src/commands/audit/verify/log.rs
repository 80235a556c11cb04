//! Verification of the sealed log: all of it, or a range, from wherever it is.

use std::sync::Arc;
use std::time::Instant;

use audit::whole_log::{LogFault, LogReport, verify_log, verify_part};
use serde_json::{Value, json};

use super::super::checkpoint::{self, check_grown, describe_growth, read_kept};
use super::super::not_verified;
use super::VerifyArguments;
use crate::failure::{Exit, Failure};
use crate::log_proof::newest_seal;
use crate::log_trust::{Opened, Trust, describe_open_error};
use crate::output::{Report, Text};
use crate::progress::Progress;
use crate::sealed_log::{self, LogObjects, Mirror, Registrations, Source, Tiles, reading_order};

/// Most faults that are shown to people; machines get all that the report names.
const SHOWN_FAULTS: usize = 50;

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Verified,
    Tampered,
    Incomplete,
    Unreachable,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Tampered => "tampered",
            Self::Incomplete => "incomplete",
            Self::Unreachable => "unreachable",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Verified => Exit::Done,
            Self::Tampered => Exit::Refused,
            Self::Incomplete => Exit::NotFound,
            Self::Unreachable => Exit::Unavailable,
        }
    }
}

/// What was found, and what it was found with.
struct Outcome<'a> {
    place: String,
    opened: Opened,
    trust: &'a Trust,
    older: Option<Opened>,
    /// The log did not grow from the kept checkpoint.
    growth: Option<Failure>,
    range: (u64, u64),
    report: LogReport,
    tiles: Tiles,
    newest_seal: Option<String>,
    duration_s: f64,
}

/// Verifies the log.
pub(super) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let source = arguments.log.open(&arguments.store);
    let source = source.map_err(not_verified)?;
    let trust = arguments.trust.read_all_for(&source);
    let trust = trust.map_err(not_verified)?;
    let mut objects = source.objects();
    let mirror = match &arguments.mirror {
        Some(dir) => {
            let mirror = Arc::new(Mirror::new(Arc::clone(&objects), dir)?);
            objects = Arc::clone(&mirror) as Arc<dyn LogObjects>;
            Some(mirror)
        }
        None => None,
    };
    let note = sealed_log::read_checkpoint(objects.as_ref())?;
    let opened = trust
        .open(&note)
        .map_err(|error| describe_open_error(&error).while_doing(objects.place()))?;
    if let Some(mirror) = &mirror {
        mirror.keep_checkpoint(&note)?;
    }
    let outcome = verify(arguments, &trust, opened, &objects, &source)?;
    outcome.report(arguments.streams)
}

fn verify<'a>(
    arguments: &VerifyArguments,
    trust: &'a Trust,
    opened: Opened,
    objects: &Arc<dyn LogObjects>,
    source: &Source,
) -> Result<Outcome<'a>, Failure> {
    let started = Instant::now();
    let size = opened.checkpoint.size;
    let mut tiles = Tiles::new(objects);
    let older = match &arguments.since {
        Some(path) => Some(read_kept(trust, path)?),
        None => None,
    };
    let growth = match &older {
        Some(older) => check_grown(older, &opened, &mut tiles).err(),
        None => None,
    };
    let newest_seal = newest_seal(&mut tiles, &opened.checkpoint).map(|seal| seal.time);
    let kept = older.as_ref().map(|older| older.checkpoint.size);
    let range = choose_range(arguments, kept.filter(|_| growth.is_none()), size)?;
    let mut tiles = tiles.fetching_ahead(reading_order(range.0, range.1, size));
    let mut progress = Progress::counting("verifying", range.1 - range.0);
    let mut done = 0;
    let mut advance = |leaves| {
        progress.advance(leaves - done);
        done = leaves;
    };
    let (checkpoint, trusted) = (&opened.checkpoint, &trust.registrars);
    let report = if range == (0, size) {
        verify_log(checkpoint, trusted, &mut tiles, &mut advance)
    } else {
        let mut registrations = Registrations::new(objects, size, range.0);
        let mut find = |stream| {
            let asked = source.registration(stream);
            asked.or_else(|| registrations.find(stream))
        };
        let part = range.0..range.1;
        verify_part(
            checkpoint,
            part,
            trusted,
            &mut find,
            &mut tiles,
            &mut advance,
        )
    };
    drop(progress);
    Ok(Outcome {
        place: objects.place(),
        opened,
        trust,
        older,
        growth,
        range,
        report,
        tiles,
        newest_seal,
        duration_s: started.elapsed().as_secs_f64(),
    })
}

fn choose_range(
    arguments: &VerifyArguments,
    kept: Option<u64>,
    size: u64,
) -> Result<(u64, u64), Failure> {
    let from = arguments.from.or(kept).unwrap_or(0);
    let until = arguments.until.unwrap_or(size);
    if until > size {
        let message = format!("--until {until}: the log has {size} entries");
        return Err(Failure::usage("--until", message));
    }
    if from > until || (from == until && kept.is_none() && from > 0) {
        let message = format!("--from {from}: expected an index before {until}");
        return Err(Failure::usage("--from", message));
    }
    Ok((from, until))
}

impl Outcome<'_> {
    fn verdict(&self) -> Verdict {
        let growth = self.growth.as_ref().map(|failure| failure.exit);
        if growth == Some(Exit::Refused) || !self.report.is_sound() {
            Verdict::Tampered
        } else if growth == Some(Exit::Unavailable) || self.tiles.lost().is_some() {
            Verdict::Unreachable
        } else if self.not_verified().is_empty() {
            Verdict::Verified
        } else {
            Verdict::Incomplete
        }
    }

    /// Sentences about what could not be verified.
    fn not_verified(&self) -> Vec<String> {
        let report = &self.report;
        let mut said = Vec::new();
        if self.opened.signers.is_empty() {
            said.push("the checkpoint's signature: no key was given (--key log.vkey)".to_owned());
        }
        if self.trust.registrars.is_empty() {
            said.push(
                "who registered the streams: no registration key was given (--key PUB.pem)"
                    .to_owned(),
            );
        }
        if let Some((path, reason)) = self.tiles.lost() {
            said.push(format!("{path} and what comes after it: {reason}"));
        }
        let unjoined = if self.is_part() { 0 } else { report.unjoined };
        let counted = [
            (
                "entries that are not there, or not the ones that were sealed",
                report.entries_missing,
            ),
            (
                "signatures of entries that are not there",
                report.signatures_missing,
            ),
            (
                "signatures without a key: it or the stream's registration is not there",
                report.keys_missing,
            ),
            ("events without the event before them", unjoined),
        ];
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        said.extend(counted.map(|(what, count)| format!("{what}: {count}")));
        let named = report.missing.iter().take(SHOWN_FAULTS);
        said.extend(named.map(|missing| format!("{}: {}", missing.what, missing.reason)));
        let more = report.missing_count.saturating_sub(SHOWN_FAULTS as u64);
        if more > 0 {
            said.push(format!("{more} further parts of the log"));
        }
        if !report.root_verified && report.is_sound() {
            said.push("that the entries lead to the checkpoint's root".to_owned());
        }
        if let Some(failure) = &self.growth
            && failure.exit != Exit::Refused
        {
            said.push(format!("the growth: {}", failure.message));
        }
        said
    }

    fn report(&self, list_streams: bool) -> Result<Report, Failure> {
        let report = Report::new(&self.to_json(list_streams), self.describe(list_streams))?;
        Ok(report.ending_with(self.verdict().exit()))
    }

    fn to_json(&self, list_streams: bool) -> Value {
        let (report, verdict) = (&self.report, self.verdict());
        let to_json = |fault: &LogFault| {
            let mut value = json!(fault);
            value["code"] = fault.code().into();
            value["error"] = fault.to_string().into();
            value
        };
        let faults: Vec<Value> = report.faults.iter().map(to_json).collect();
        let streams = report.streams.values();
        let mut value = json!({
            "verdict": verdict.name(),
            "verified": verdict == Verdict::Verified,
            "place": self.place,
            "checkpoint": self.opened.to_json(self.trust.from),
            "newest_seal": self.newest_seal,
            "from": self.range.0,
            "until": self.range.1,
            "root_verified": report.root_verified,
            "entries": report.entries,
            "entries_missing": report.entries_missing,
            "events": streams.clone().map(|stream| stream.events).sum::<u64>(),
            "seals": report.seals,
            "signatures": report.signatures,
            "signatures_missing": report.signatures_missing,
            "keys_missing": report.keys_missing,
            "unjoined": report.unjoined,
            "reported": report.reported,
            "streams": report.streams.len(),
            "streams_closed": streams.filter(|stream| stream.closed).count(),
            "faults": faults,
            "fault_count": report.fault_count,
            "not_verified": self.not_verified(),
            "duration_ms": (self.duration_s * 1e3).round() as u64,
            "entries_per_s": self.rate().round() as u64,
        });
        if let Some(older) = &self.older {
            value["growth"] = match &self.growth {
                None => json!({ "from": older.checkpoint.size, "holds": true }),
                Some(failure) => json!({
                    "from": older.checkpoint.size,
                    "holds": false,
                    "code": failure.code,
                    "error": failure.message,
                }),
            };
        }
        if list_streams {
            value["stream_list"] = json!(report.streams);
        }
        value
    }

    fn is_part(&self) -> bool {
        self.range != (0, self.opened.checkpoint.size)
    }

    fn rate(&self) -> f64 {
        self.report.entries as f64 / self.duration_s.max(1e-9)
    }

    fn describe(&self, list_streams: bool) -> Text {
        let report = &self.report;
        let what = if self.range == (0, self.opened.checkpoint.size) {
            "the whole log".to_owned()
        } else {
            format!(
                "entries {} to {}",
                self.range.0,
                self.range.1.saturating_sub(1)
            )
        };
        let verdict = match self.verdict() {
            Verdict::Verified => what,
            Verdict::Tampered => format!("NO: evidence of tampering in {what}"),
            Verdict::Incomplete => format!("not all: something that {what} takes is not there"),
            Verdict::Unreachable => format!("not all: {what} could not be read to its end"),
        };
        let streams = report.streams.values();
        let closed = streams.clone().filter(|stream| stream.closed).count();
        let events: u64 = streams.map(|stream| stream.events).sum();
        let rate = self.rate();
        let mut text = Text::new().field("verified", verdict);
        text = checkpoint::describe(text, &self.opened, self.trust.from)
            .optional("newest seal", self.newest_seal.as_ref())
            .optional(
                "grown",
                self.older
                    .as_ref()
                    .filter(|_| self.growth.is_none())
                    .map(describe_growth),
            )
            .field(
                "entries",
                format!(
                    "{}: {events} events, {} registrations, {} seals",
                    report.entries,
                    report.entries.saturating_sub(events + report.seals),
                    report.seals
                ),
            )
            .field(
                "streams",
                format!("{}, {closed} of them ended", report.streams.len()),
            )
            .field("signatures", format!("{} verified", report.signatures))
            .field(
                "took",
                format!("{:.1} s, {rate:.0} entries/s", self.duration_s),
            );
        let reported: Vec<Vec<String>> = report
            .reported
            .iter()
            .map(|(code, count)| vec![code.clone(), count.to_string()])
            .collect();
        text = text.table("reported by the sealer", &reported);
        if list_streams {
            let rows: Vec<Vec<String>> = report
                .streams
                .iter()
                .map(|(id, stream)| {
                    let end = if stream.closed { "ended" } else { "open" };
                    vec![
                        id.to_string(),
                        format!("{} events", stream.events),
                        end.to_owned(),
                        stream.host.clone().unwrap_or_default(),
                    ]
                })
                .collect();
            text = text.table("stream, events, end, host", &rows);
        }
        let mut found: Vec<Vec<String>> = Vec::new();
        if let Some(failure) = self
            .growth
            .as_ref()
            .filter(|failure| failure.exit == Exit::Refused)
        {
            found.push(vec![failure.code.clone(), failure.message.clone()]);
        }
        let faults = report.faults.iter().take(SHOWN_FAULTS);
        found.extend(faults.map(|fault| vec![fault.code().to_owned(), fault.to_string()]));
        let more = report.fault_count.saturating_sub(SHOWN_FAULTS as u64);
        if more > 0 {
            found.push(vec![String::new(), format!("and {more} more")]);
        }
        text = text.table("evidence", &found);
        let not: Vec<Vec<String>> = self
            .not_verified()
            .into_iter()
            .map(|line| vec![line])
            .collect();
        text.table("could not be verified", &not)
    }
}
