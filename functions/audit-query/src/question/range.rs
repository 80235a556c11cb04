//! Which time is asked about.

use audit::stream::rfc3339;
use domain::Lookup;
use domain::lookup::parse_time;
use web::ApiError;

use super::Filters;
use crate::function::Limits;

/// What is asked about where the question does not say: the last hour, in microseconds.
const DEFAULT_US: u64 = 3_600_000_000;
const DAY_US: u64 = 86_400_000_000;

/// `from` and `until` as the question writes them.
type Times<'a> = (Option<&'a str>, Option<&'a str>);

fn read_time(field: &str, text: &str) -> Result<u64, ApiError> {
    parse_time(text).ok_or_else(|| {
        let message = "expected RFC 3339 in UTC, not before 1970, for example 2026-11-22T13:00:00Z";
        ApiError::bad_field("query.time_invalid", field, message)
    })
}

/// The range of a question that is asked at `now_us`.
pub(super) fn read((from, until): Times<'_>, now_us: u64) -> Result<(u64, u64), ApiError> {
    let until_us = until.map_or(Ok(now_us), |text| read_time("until", text))?;
    let default_us = until_us.saturating_sub(DEFAULT_US);
    let from_us = from.map_or(Ok(default_us), |text| read_time("from", text))?;
    if from_us >= until_us {
        let end = if until.is_some() { "until" } else { "now" };
        let message = format!("expected a time before {end}, {}", rfc3339(until_us));
        return Err(ApiError::bad_field("query.range_empty", "from", message));
    }
    Ok((from_us, until_us))
}

/// The range of a question that goes on: that of its cursor, which need not be said again.
pub(super) fn read_again(
    (from, until): Times<'_>,
    range: (u64, u64),
) -> Result<(u64, u64), ApiError> {
    for (field, text, cursors) in [("from", from, range.0), ("until", until, range.1)] {
        let Some(text) = text else { continue };
        if read_time(field, text)? != cursors {
            let message = format!(
                "the cursor goes on with another question, whose {field} is {}: expected that or none",
                rfc3339(cursors)
            );
            return Err(ApiError::bad_field("query.cursor_mismatch", field, message));
        }
    }
    Ok(range)
}

/// How much wider than allowed a range may be, in microseconds: `from` is often a whole day before the caller's now, and
/// `until` the now of here.
const CLOCKS_US: u64 = 60_000_000;

/// Refuses a range that would take the index too long.
pub(super) fn check(
    filters: &Filters,
    (from_us, until_us): (u64, u64),
    limits: &Limits,
) -> Result<(), ApiError> {
    let (most_us, what) = match filters.lookup() {
        Lookup::Everything => (limits.range_us, "without symbol, model or request_id"),
        Lookup::Symbol(_) | Lookup::Model(..) => (limits.range_of_one_us, "by symbol or model"),
        Lookup::Request(_) => return Ok(()),
    };
    if until_us.saturating_sub(from_us) <= most_us + CLOCKS_US {
        return Ok(());
    }
    let narrower = match filters.lookup() {
        Lookup::Everything => format!(
            "or symbol or model (at most {}), or request_id (any range)",
            days(limits.range_of_one_us)
        ),
        _ => "or request_id (any range)".to_owned(),
    };
    let message = format!(
        "from {} until {} is {}; {what} at most {} can be asked for at once: pass until={}, {narrower}",
        rfc3339(from_us),
        rfc3339(until_us),
        width(until_us - from_us),
        days(most_us),
        rfc3339(from_us.saturating_add(most_us)),
    );
    Err(ApiError::bad_field(
        "query.range_too_wide",
        "until",
        message,
    ))
}

/// Refuses a range of which no event is found any more; of one that begins before, gives from when on they are.
pub(super) fn check_kept(
    (from_us, until_us): (u64, u64),
    limits: &Limits,
    now_us: u64,
) -> Result<Option<u64>, ApiError> {
    let Some(kept_us) = limits.kept_us else {
        return Ok(None);
    };
    let oldest_us = now_us.saturating_sub(kept_us);
    if until_us > oldest_us {
        return Ok((from_us < oldest_us).then_some(oldest_us));
    }
    let message = format!(
        "events are found for {}, now those from {} on: expected a later time. An earlier event that is sealed is still \
         given by its place, /v1/audit/events/{{stream}}/{{seq}}, and a copy of the log's bucket has all of them",
        days(kept_us),
        rfc3339(oldest_us),
    );
    Err(ApiError::bad_field("query.range_expired", "until", message))
}

/// How wide a range is that was asked for: the asker's `from` and the time of arrival are seldom whole days apart.
fn width(us: u64) -> String {
    let whole = us / DAY_US * DAY_US;
    if us == whole {
        days(whole)
    } else {
        format!("more than {}", days(whole))
    }
}

/// A limit; begun days count as whole ones.
fn days(us: u64) -> String {
    match us.div_ceil(DAY_US) {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
