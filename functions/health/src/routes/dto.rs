//! What is written out.

use audit::stream::rfc3339;
use domain::ports::Heartbeat;
use domain::{Release, ReleaseRole};
use serde::Serialize;

use crate::assess::{Reason, Report, VersionReport};

/// The body of `/readyz`.
#[derive(Serialize)]
pub(super) struct ReadyResponse<'a> {
    ready: bool,
    status: &'static str,
    reasons: Vec<ReasonResponse<'a>>,
}

#[derive(Serialize)]
struct ReasonResponse<'a> {
    code: &'static str,
    subject: &'a str,
    blocking: bool,
}

/// The body of `/v1/status`.
#[derive(Serialize)]
pub(super) struct StatusResponse<'a> {
    status: &'static str,
    checked_at: String,
    score: ScoreResponse,
    reasons: Vec<ReasonResponse<'a>>,
    alias: Option<AliasResponse>,
    release: Option<ReleaseResponse<'a>>,
    versions: Vec<VersionResponse<'a>>,
    dependencies: Vec<DependencyResponse<'a>>,
    newest_event_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spill: Option<SpillResponse>,
}

#[derive(Serialize)]
struct SpillResponse {
    items: usize,
    events: u64,
    set_aside: usize,
}

#[derive(Serialize)]
struct ScoreResponse {
    value: u64,
    parts: Vec<PartResponse>,
}

#[derive(Serialize)]
struct PartResponse {
    name: &'static str,
    weight: u64,
    points: u64,
}

#[derive(Serialize)]
struct AliasResponse {
    name: &'static str,
    release: String,
    revision: u64,
}

#[derive(Serialize)]
struct ReleaseResponse<'a> {
    id: String,
    created_at: &'a str,
    models: Vec<ModelResponse<'a>>,
}

#[derive(Serialize)]
struct ModelResponse<'a> {
    name: &'a str,
    version: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback_for: Option<&'a str>,
    digest: String,
}

#[derive(Serialize)]
struct VersionResponse<'a> {
    version: &'a str,
    weight: f64,
    state: &'static str,
    heartbeat: Option<HeartbeatResponse<'a>>,
}

#[derive(Serialize)]
struct HeartbeatResponse<'a> {
    release: Option<String>,
    ready: bool,
    reason: Option<&'a str>,
    age_ms: u64,
}

#[derive(Serialize)]
struct DependencyResponse<'a> {
    name: &'a str,
    ok: bool,
    code: Option<&'static str>,
    latency_ms: u64,
}

/// From `at_us` to `now_us` in milliseconds; 0 where `at_us` is later.
fn age_ms(now_us: u64, at_us: u64) -> u64 {
    now_us.saturating_sub(at_us) / 1000
}

fn reasons(reasons: &[Reason]) -> Vec<ReasonResponse<'_>> {
    reasons
        .iter()
        .map(|reason| ReasonResponse {
            code: reason.code.as_str(),
            subject: &reason.subject,
            blocking: reason.blocking,
        })
        .collect()
}

impl<'a> ReadyResponse<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        Self {
            ready: report.is_ready(),
            status: report.status.name(),
            reasons: reasons(&report.reasons),
        }
    }
}

impl<'a> StatusResponse<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let part = |part: &crate::score::Part| PartResponse {
            name: part.name,
            weight: part.weight,
            points: part.points,
        };
        Self {
            status: report.status.name(),
            checked_at: rfc3339(report.at_us),
            score: ScoreResponse {
                value: report.score.value,
                parts: report.score.parts.iter().map(part).collect(),
            },
            reasons: reasons(&report.reasons),
            alias: report.alias.as_ref().map(|alias| AliasResponse {
                name: crate::LIVE,
                release: alias.release.to_string(),
                revision: alias.revision,
            }),
            release: report.release.as_ref().map(ReleaseResponse::of),
            versions: report
                .versions
                .iter()
                .map(|version| VersionResponse::of(version, report.at_us))
                .collect(),
            dependencies: report
                .dependencies
                .iter()
                .map(|dependency| DependencyResponse {
                    name: &dependency.name,
                    ok: dependency.is_ok(),
                    code: dependency.code.map(crate::Code::as_str),
                    latency_ms: dependency.latency.as_millis() as u64,
                })
                .collect(),
            newest_event_age_ms: report
                .newest_event_us
                .map(|newest| age_ms(report.at_us, newest)),
            spill: report.spill.map(|spill| SpillResponse {
                items: spill.items,
                events: spill.events,
                set_aside: spill.set_aside,
            }),
        }
    }
}

impl<'a> ReleaseResponse<'a> {
    fn of(release: &'a Release) -> Self {
        let model = |model: &'a domain::ReleaseModel| ModelResponse {
            name: model.name.as_str(),
            version: model.version.to_string(),
            role: match model.role {
                ReleaseRole::Live => "live",
                ReleaseRole::FallbackFor(_) => "fallback",
            },
            fallback_for: match &model.role {
                ReleaseRole::Live => None,
                ReleaseRole::FallbackFor(name) => Some(name.as_str()),
            },
            digest: model.digest.to_string(),
        };
        Self {
            id: release.id.to_string(),
            created_at: &release.created_at,
            models: release.models.iter().map(model).collect(),
        }
    }
}

impl<'a> VersionResponse<'a> {
    fn of(version: &'a VersionReport, now_us: u64) -> Self {
        let heartbeat = |heartbeat: &'a Heartbeat| HeartbeatResponse {
            release: heartbeat.release.map(|release| release.to_string()),
            ready: heartbeat.release.is_some(),
            reason: heartbeat.reason.as_deref(),
            age_ms: age_ms(now_us, heartbeat.at_us),
        };
        Self {
            version: &version.version,
            weight: version.weight,
            state: version.state.name(),
            heartbeat: version.heartbeat.as_ref().map(heartbeat),
        }
    }
}
