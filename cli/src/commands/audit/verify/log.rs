//! Verification of the sealed log: all of it, or a range, from wherever it is.

mod outcome;

use std::sync::Arc;
use std::time::Instant;

use audit::whole_log::{verify_log, verify_part};

use self::outcome::{Growth, Outcome};
use super::super::checkpoint::{check_grown, read_kept};
use super::super::not_verified;
use super::VerifyArguments;
use crate::failure::Failure;
use crate::log_proof::newest_seal;
use crate::log_trust::{Opened, Trust, describe_open_error};
use crate::output::Report;
use crate::progress::Progress;
use crate::sealed_log::{self, LogObjects, Mirror, Registrations, Source, Tiles, reading_order};

/// What is known of the log before its entries are read.
struct Found {
    opened: Opened,
    growth: Option<Growth>,
    tiles: Tiles,
}

/// Verifies the log.
pub(super) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let (source, mut trust) = arguments.log.open()?;
    trust.add_registrars_of(&source).map_err(not_verified)?;
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
    let mut tiles = Tiles::new(&objects);
    let growth = check_all_growth(arguments, mirror.as_deref(), &trust, &opened, &mut tiles)?;
    let holds = growth.as_ref().is_none_or(Growth::holds);
    if let (Some(mirror), true) = (&mirror, holds) {
        // Where the log did not grow from it, the copy's own checkpoint is the evidence.
        mirror.keep_checkpoint(&note)?;
    }
    let found = Found {
        opened,
        growth,
        tiles,
    };
    let outcome = verify(arguments, &trust, found, &objects, &source)?;
    outcome.report(arguments.streams)
}

/// Holds the log against the checkpoints that were kept: the one that is named, and that of the copy. Gives the one
/// that it did not grow from, else the first.
fn check_all_growth(
    arguments: &VerifyArguments,
    mirror: Option<&Mirror>,
    trust: &Trust,
    opened: &Opened,
    tiles: &mut Tiles,
) -> Result<Option<Growth>, Failure> {
    let named = arguments.since.clone().map(|path| (path, "--since"));
    let copied = mirror.map(Mirror::kept_checkpoint).transpose()?.flatten();
    let copied = copied.map(|path| (path, "--mirror"));
    let mut first = None;
    for (path, option) in named.into_iter().chain(copied) {
        let older = read_kept(trust, &path, option)?;
        let failure = check_grown(&older, opened, tiles).err();
        let growth = Growth { older, failure };
        if !growth.holds() {
            return Ok(Some(growth));
        }
        first = first.or(Some(growth));
    }
    Ok(first)
}

fn verify<'a>(
    arguments: &VerifyArguments,
    trust: &'a Trust,
    found: Found,
    objects: &Arc<dyn LogObjects>,
    source: &Source,
) -> Result<Outcome<'a>, Failure> {
    let started = Instant::now();
    let Found {
        opened,
        growth,
        mut tiles,
    } = found;
    let size = opened.checkpoint.size;
    let newest_seal = newest_seal(&mut tiles, &opened.checkpoint).map(|seal| seal.time);
    let grown = growth.as_ref().filter(|growth| growth.holds());
    let since = grown.filter(|_| arguments.since.is_some());
    let kept = since.map(|growth| growth.older.checkpoint.size);
    let range = choose_range(arguments, kept, size)?;
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
    let nothing_new = kept == Some(until) && arguments.from.is_none();
    if from > until || (from == until && size > 0 && !nothing_new) {
        let message = format!("--from {from}: expected an index before {until}");
        return Err(Failure::usage("--from", message));
    }
    Ok((from, until))
}
