//! What a verification of the sealed log found, for people and for machines.

use audit::whole_log::{LogFault, LogReport};
use serde_json::{Value, json};

use super::super::super::checkpoint::{self, describe_growth};
use crate::failure::{Exit, Failure};
use crate::log_trust::{Opened, Trust};
use crate::output::{Report, Text};
use crate::sealed_log::Tiles;

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

/// Whether the log grew from a checkpoint that was kept.
pub(super) struct Growth {
    /// That checkpoint.
    pub(super) older: Opened,
    /// Why not, or why nobody knows.
    pub(super) failure: Option<Failure>,
}

impl Growth {
    /// Whether it did, and that is known.
    pub(super) fn holds(&self) -> bool {
        self.failure.is_none()
    }
}

/// What was found, and what it was found with.
pub(super) struct Outcome<'a> {
    pub(super) place: String,
    pub(super) opened: Opened,
    pub(super) trust: &'a Trust,
    pub(super) growth: Option<Growth>,
    pub(super) range: (u64, u64),
    pub(super) report: LogReport,
    pub(super) tiles: Tiles,
    pub(super) newest_seal: Option<String>,
    pub(super) duration_s: f64,
}

impl Outcome<'_> {
    /// Why the growth does not hold, or is not known.
    fn not_grown(&self) -> Option<&Failure> {
        self.growth.as_ref()?.failure.as_ref()
    }

    fn verdict(&self) -> Verdict {
        let growth = self.not_grown().map(|failure| failure.exit);
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
        if let Some(failure) = self.not_grown()
            && failure.exit != Exit::Refused
        {
            said.push(format!("the growth: {}", failure.message));
        }
        said
    }

    /// The report, and with which exit code it ends.
    pub(super) fn report(&self, list_streams: bool) -> Result<Report, Failure> {
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
            "registration_key_from": self.trust.registrars_from,
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
        if let Some(Growth { older, failure }) = &self.growth {
            let from = older.checkpoint.size;
            value["growth"] = match failure {
                None => json!({ "from": from, "holds": true }),
                Some(failure) => json!({
                    "from": from,
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
        let what = match self.range {
            (0, until) if until == self.opened.checkpoint.size => "the whole log".to_owned(),
            (from, until) if from == until => "the growth; no entry is new".to_owned(),
            (from, until) => format!("entries {from} to {}", until - 1),
        };
        let verdict = match self.verdict() {
            Verdict::Verified => what,
            Verdict::Tampered => format!("NO: evidence of tampering in {what}"),
            Verdict::Incomplete => format!("NOT ALL of {what}: what is not there is listed below"),
            Verdict::Unreachable => {
                format!("NOT ALL of {what}: it could not be read to its end, see below")
            }
        };
        let streams = report.streams.values();
        let closed = streams.clone().filter(|stream| stream.closed).count();
        let events: u64 = streams.map(|stream| stream.events).sum();
        let rate = self.rate();
        let grown = self.growth.as_ref().filter(|growth| growth.holds());
        let mut text = Text::new().field("verified", verdict);
        text = checkpoint::describe(text, &self.opened, self.trust.from)
            .optional("newest seal", self.newest_seal.as_ref())
            .optional("grown", grown.map(|growth| describe_growth(&growth.older)))
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
            .optional("but", self.trust.registrars_from.registrar_caveat())
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
            .not_grown()
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
