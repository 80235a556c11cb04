//! Judges what was answered: what is wrong, and whether the fleet can answer all the same.

use std::time::Duration;

use domain::Release;
use domain::StoreError;
use domain::ports::{Alias, Heartbeat, Routing};
use domain::spill::SpillSummary;

use crate::alerts::{Condition, Finding};
use crate::code::{Blocks, Code};
use crate::function::Limits;
use crate::score::{self, Grade, Grades, Score};
use crate::survey::{AskError, Asked, DependencyAnswer, Need, Survey};
use crate::version::{VersionState, Versions};

/// How the fleet fares, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong or unknown, and requests are answered.
    Degraded,
    /// Requests cannot be answered, or not from what was released.
    Down,
}

impl Status {
    /// The stable name in `/v1/status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What.
    pub code: Code,
    /// Of what: an alias, a release's id, a version, a dependency's name.
    pub subject: String,
    /// Whether the fleet is down with it.
    pub blocking: bool,
}

/// What was seen and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// When it was seen, in microseconds since 1970.
    pub at_us: u64,
    /// In one word.
    pub status: Status,
    /// In one number.
    pub score: Score,
    /// Everything that is wrong, blocking reasons first.
    pub reasons: Vec<Reason>,
    /// What the alias points to.
    pub alias: Option<Alias>,
    /// The release that it points to.
    pub release: Option<Release>,
    /// The versions that take requests.
    pub versions: Vec<VersionReport>,
    /// The dependencies.
    pub dependencies: Vec<DependencyReport>,
    /// When the newest audit event that any version reports became durable, in microseconds since 1970.
    pub newest_event_us: Option<u64>,
    /// What is in the spill; `None` where there is none, or it could not be listed.
    pub spill: Option<SpillSummary>,
    /// What is known of each thing that can be broken into.
    pub conditions: Vec<Condition>,
}

impl Report {
    /// Whether the fleet can answer.
    pub fn is_ready(&self) -> bool {
        self.status != Status::Down
    }
}

/// A version that takes requests.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionReport {
    /// The version.
    pub version: String,
    /// Its share of the requests, 0 to 1.
    pub weight: f64,
    /// How it fares.
    pub state: VersionState,
    /// What it said last.
    pub heartbeat: Option<Heartbeat>,
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyReport {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub code: Option<Code>,
    /// How long it took to answer, or how long it was waited for.
    pub latency: Duration,
}

impl DependencyReport {
    /// Whether it can be used; also where it is slow.
    pub fn is_ok(&self) -> bool {
        matches!(self.code, None | Some(Code::DependencySlow))
    }
}

/// Judges `survey` at `now_us`.
pub fn assess(
    alias: &str,
    survey: Survey,
    versions: Versions,
    limits: &Limits,
    now_us: u64,
) -> Report {
    let mut judge = Judge::default();
    let (dependencies, dependency_grades) = judge.dependencies(survey.dependencies, limits.ask);
    let routing = judge.routing(alias, survey.routing);
    let found = routing.as_ref().and_then(|routing| routing.alias.clone());
    let release = judge.release(found.as_ref(), survey.release);
    let targets = routing.map_or_else(Vec::new, |routing| routing.targets);
    let fleet: Vec<VersionReport> = targets
        .into_iter()
        .zip(survey.heartbeats)
        .map(|(target, heartbeat)| VersionReport {
            state: VersionState::of(
                &heartbeat,
                found.as_ref().map(|alias| alias.release),
                now_us,
                limits.fresh_us,
            ),
            version: target.version,
            weight: target.weight,
            heartbeat: heartbeat.ok().flatten(),
        })
        .collect();
    let spill = judge.spill(survey.spill);
    judge.versions(alias, found.as_ref(), &fleet, versions);
    let grades = Grades {
        routing: release_grade(found.as_ref(), release.as_ref(), &judge),
        versions: fleet
            .iter()
            .map(|version| (version.weight, version.state.grade()))
            .collect(),
        dependencies: dependency_grades,
    };
    judge.reasons.sort_by_key(|reason| !reason.blocking);
    Report {
        at_us: now_us,
        status: judge.status(),
        score: score::score(&grades),
        newest_event_us: fleet
            .iter()
            .filter_map(|version| version.heartbeat.as_ref()?.newest_event_us)
            .max(),
        reasons: judge.reasons,
        alias: found,
        release,
        versions: fleet,
        dependencies,
        spill,
        conditions: judge.conditions,
    }
}

/// Full where alias and release are there and fit together, half where the release cannot be read just now.
fn release_grade(alias: Option<&Alias>, release: Option<&Release>, judge: &Judge) -> Grade {
    let has = |code| judge.reasons.iter().any(|reason| reason.code == code);
    match (alias, release) {
        (Some(_), Some(_)) if !has(Code::AliasMismatch) => Grade::Full,
        (Some(_), None) if has(Code::ReleaseUnreadable) => Grade::Half,
        _ => Grade::None,
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Judge {
    reasons: Vec<Reason>,
    conditions: Vec<Condition>,
}

impl Judge {
    fn status(&self) -> Status {
        if self.reasons.iter().any(|reason| reason.blocking) {
            Status::Down
        } else if self.reasons.is_empty() {
            Status::Ok
        } else {
            Status::Degraded
        }
    }

    fn note(&mut self, code: Code, subject: &str) {
        self.note_of(Need::Answer, code, subject);
    }

    /// A reason about something that is needed for this.
    fn note_of(&mut self, need: Need, code: Code, subject: &str) {
        self.reasons.push(Reason {
            code,
            subject: subject.to_owned(),
            blocking: match code.blocks() {
                Blocks::Always => true,
                Blocks::Answers => need == Need::Answer,
                Blocks::Never => false,
            },
        });
    }

    /// What is known of `subject`, which holds one of the places that can be broken into.
    fn find(&mut self, place: &str, finding: Finding) {
        self.conditions.push(Condition {
            place: place.to_owned(),
            finding,
        });
    }

    /// What a failure says of the place: a breach, or that nobody knows.
    fn fault(&mut self, place: &str, code: Code, subject: &str, detail: &AskError) {
        let finding = if code.is_breach() {
            Finding::Breach {
                code,
                subject: subject.to_owned(),
                detail: detail.to_string(),
            }
        } else {
            Finding::Unknown
        };
        self.find(place, finding);
    }

    fn routing(&mut self, alias: &str, routing: Asked<Routing>) -> Option<Routing> {
        match routing {
            Ok(routing) => {
                if routing.alias.is_none() {
                    self.note(Code::AliasNotActivated, alias);
                    self.find("alias", Finding::Unknown);
                } else {
                    self.find("alias", Finding::Sound);
                }
                Some(routing)
            }
            Err(error) => {
                let code = match &error {
                    AskError::Store(StoreError::NotFound(_)) => Code::AliasMissing,
                    AskError::Store(StoreError::Corrupt(_)) => Code::AliasMoved,
                    _ => Code::AliasUnreadable,
                };
                self.note(code, alias);
                self.fault("alias", code, alias, &error);
                None
            }
        }
    }

    fn release(
        &mut self,
        alias: Option<&Alias>,
        release: Option<Asked<Release>>,
    ) -> Option<Release> {
        let id = alias?.release.to_string();
        match release? {
            Ok(release) => {
                self.find("release", Finding::Sound);
                Some(release)
            }
            Err(error) => {
                let code = match &error {
                    AskError::Store(StoreError::NotFound(_)) => Code::ReleaseMissing,
                    AskError::Store(StoreError::Corrupt(_)) => Code::ReleaseCorrupt,
                    _ => Code::ReleaseUnreadable,
                };
                self.note(code, &id);
                self.fault("release", code, &id, &error);
                None
            }
        }
    }

    fn spill(&mut self, asked: Option<Asked<SpillSummary>>) -> Option<SpillSummary> {
        let Ok(summary) = asked? else {
            self.note(Code::SpillUnreadable, "spill");
            return None;
        };
        if summary.items > 0 {
            self.note(Code::SpillNotEmpty, "spill");
        }
        if summary.set_aside > 0 {
            self.note(Code::SpillSetAside, "spill");
        }
        Some(summary)
    }

    fn versions(
        &mut self,
        alias: &str,
        found: Option<&Alias>,
        fleet: &[VersionReport],
        versions: Versions,
    ) {
        for version in fleet {
            if let Some(code) = version.state.code() {
                self.note(code, &version.version);
            }
        }
        // Of an alias that points to nothing, or that nobody could read, that is what is wrong.
        let Some(found) = found else { return };
        if !fleet
            .iter()
            .any(|version| version.state.may_serve(versions))
        {
            self.note(Code::FleetNotServing, alias);
        }
        if versions == Versions::Pinned
            && let [only] = fleet
        {
            self.mismatch(alias, found, only);
        }
    }

    /// A published version cannot change its release: if the alias says another, somebody wrote what is not so.
    fn mismatch(&mut self, alias: &str, found: &Alias, only: &VersionReport) {
        let served = only
            .heartbeat
            .as_ref()
            .and_then(|heartbeat| heartbeat.release);
        let finding = match (only.state, served) {
            (VersionState::OtherRelease, Some(served)) => {
                self.note(Code::AliasMismatch, alias);
                Finding::Breach {
                    code: Code::AliasMismatch,
                    subject: alias.to_owned(),
                    detail: format!(
                        "it says {} and points to version {}, which serves {served}",
                        found.release, only.version
                    ),
                }
            }
            (VersionState::Serving | VersionState::Quiet | VersionState::Impaired, _) => {
                Finding::Sound
            }
            _ => Finding::Unknown,
        };
        self.find("alias and version", finding);
    }

    fn dependencies(
        &mut self,
        answers: Vec<DependencyAnswer>,
        limit: Duration,
    ) -> (Vec<DependencyReport>, Vec<Grade>) {
        let mut grades = Vec::with_capacity(answers.len());
        let mut reports = Vec::with_capacity(answers.len());
        for DependencyAnswer {
            name,
            need,
            answer,
            latency,
        } in answers
        {
            let place = format!("dependency {name}");
            let code = match answer {
                Ok(()) => {
                    self.find(&place, Finding::Sound);
                    let slow = (latency > limit / 2).then_some(Code::DependencySlow);
                    if let Some(code) = slow {
                        self.note(code, &name);
                    }
                    slow
                }
                Err(error) => {
                    let code = dependency_code(&error);
                    self.note_of(need, code, &name);
                    self.fault(&place, code, &name, &error);
                    Some(code)
                }
            };
            grades.push(match code {
                None => Grade::Full,
                Some(Code::DependencySlow) => Grade::Half,
                Some(_) => Grade::None,
            });
            reports.push(DependencyReport {
                name,
                code,
                latency,
            });
        }
        (reports, grades)
    }
}

fn dependency_code(error: &AskError) -> Code {
    match error {
        AskError::Timeout => Code::DependencyTimeout,
        AskError::Store(StoreError::NotFound(_)) => Code::DependencyGone,
        AskError::Store(StoreError::Corrupt(_)) => Code::DependencyCorrupt,
        // A check changes nothing, so a conflict or an unknown outcome is a refusal like any other.
        AskError::Store(_) => Code::DependencyUnavailable,
    }
}
