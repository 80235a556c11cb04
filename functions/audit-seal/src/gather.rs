//! Which streams a run looks at, and what it takes of them.

use std::collections::{BTreeMap, BTreeSet};

use audit::StreamId;
use audit::seal::StreamPage;
use domain::StoreError;
use futures::future::join_all;

use crate::error::SealError;
use crate::head::Head;
use crate::look::Looked;
use crate::queue::{Candidates, Queue, Why};
use crate::report::RunReport;
use crate::sealer::{Sealer, Time};

/// Streams that are looked at, and hours that are listed, at once.
const AT_ONCE: usize = 8;
/// Streams that are listed at once.
const LISTED: usize = 1000;
/// Microseconds of an hour.
pub(crate) const HOUR_US: u64 = 3_600_000_000;
/// Microseconds of a day: every closed stream is looked at again as often.
const SWEEP_US: u64 = 24 * HOUR_US;
/// How far the clocks of two hosts may be apart, and how long a registration may take, in microseconds.
const APART_US: u64 = HOUR_US;
/// Where streams were not listed for more hours than this, it is asked first which hours have any.
const MANY_HOURS: u64 = 48;

/// What a checkpoint is made of.
pub(crate) struct Gathered {
    /// In the order of the streams.
    pub(crate) pages: Vec<StreamPage>,
    /// True where a stream could not be read that nothing else remembers.
    pub(crate) passed_by: bool,
}

impl Sealer {
    /// The streams to look at: those that events are expected of, those that were registered since the last run that
    /// was whole, those that were spilled, and of the others the ones whose turn it is. False where some could not be listed.
    pub(crate) async fn candidates(
        &self,
        head: &Head,
        spilled: &BTreeSet<StreamId>,
        now_us: u64,
    ) -> Result<(Candidates, bool), SealError> {
        let mut found = Candidates::default();
        for stream in spilled {
            found.add(*stream, Why::Replayed);
        }
        let listed_us = head.position.listed_until_us.min(now_us);
        let mut complete = match self.hours_since(listed_us, now_us).await {
            Ok(hours) => self.add_hours(hours, Why::Registered, &mut found).await,
            Err(error) => {
                tracing::error!(error = %error, "the hours of new streams could not be listed");
                false
            }
        };
        let turn = self.hours_in_turn(head.sealed_us, now_us).await;
        match turn {
            Ok(hours) => {
                self.add_hours(hours, Why::Sweep, &mut found).await;
            }
            Err(error) => {
                tracing::error!(error = %error, "the hours of closed streams could not be listed");
                complete = false;
            }
        }
        let mut after = None;
        loop {
            let page = self.ports.index.open_streams(after, LISTED).await;
            let page = page.map_err(|error| match error {
                StoreError::Corrupt(reason) => SealError::IndexDiffers(reason),
                error => SealError::store("list the open streams")(error),
            })?;
            let Some(last) = page.last() else { break };
            after = Some(last.stream);
            for state in page {
                found.add_open(state);
            }
        }
        Ok((found, complete))
    }

    /// The hours whose streams are looked at again in this run: each of them once a day, by the clock alone.
    async fn hours_in_turn(
        &self,
        sealed_us: Option<u64>,
        now_us: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let now = self.slot(now_us);
        let first = match sealed_us.map(|us| self.slot(us)) {
            Some(last) if last == now => return Ok(Vec::new()),
            Some(last) if last < now => last + 1,
            _ => now,
        };
        let slots = self.slot(SWEEP_US).max(1);
        let behind = now - first;
        let is_due = |hour: &u64| {
            // How many slots before this one its turn was.
            let ago = (now % slots + slots - hour % slots) % slots;
            ago <= behind
        };
        let hours = self.ports.audit.registration_hours().await?;
        Ok(hours.into_iter().filter(is_due).collect())
    }

    /// The hours in which streams may have been registered since all were listed. Where those are many, the ones that
    /// have any.
    async fn hours_since(&self, listed_us: u64, now_us: u64) -> Result<Vec<u64>, StoreError> {
        let first = listed_us.saturating_sub(APART_US) / HOUR_US;
        let last = now_us.saturating_add(APART_US) / HOUR_US;
        if last - first <= MANY_HOURS {
            return Ok((first..=last).collect());
        }
        let hours = self.ports.audit.registration_hours().await?;
        Ok(hours.into_iter().filter(|hour| *hour >= first).collect())
    }

    async fn add_hours(&self, hours: Vec<u64>, why: Why, found: &mut Candidates) -> bool {
        let mut complete = true;
        for part in hours.chunks(AT_ONCE) {
            let lists = join_all(part.iter().map(|hour| self.registered_in(*hour))).await;
            for (hour, list) in part.iter().zip(lists) {
                match list {
                    Ok(streams) => streams
                        .into_iter()
                        .for_each(|stream| found.add(stream, why)),
                    Err(error) => {
                        complete = false;
                        tracing::error!(hour, error = %error, "the streams of an hour could not be listed");
                    }
                }
            }
        }
        complete
    }

    async fn registered_in(&self, hour: u64) -> Result<Vec<StreamId>, StoreError> {
        let mut streams = Vec::new();
        loop {
            let after = streams.last().copied();
            let page = self.ports.audit.registered_in(hour, after, LISTED).await?;
            let is_last = page.len() < LISTED;
            streams.extend(page);
            if is_last {
                return Ok(streams);
            }
        }
    }

    /// Takes streams from the queue until a checkpoint is full, the queue empty or time short.
    pub(crate) async fn gather(
        &self,
        queue: &mut Queue,
        size: u64,
        time: &Time,
        report: &mut RunReport,
    ) -> Result<Gathered, SealError> {
        let now_us = self.ports.clock.now_us();
        let mut pages: BTreeMap<StreamId, StreamPage> = BTreeMap::new();
        let (mut leaves, mut bytes, mut passed_by) = (0, 0, false);
        while leaves < self.rules.max_leaves && bytes < self.rules.max_bytes {
            let part = queue.take(AT_ONCE);
            if part.is_empty() || (time.is_short() && leaves == 0) {
                for candidate in part {
                    queue.again(candidate);
                }
                break;
            }
            let looks = part
                .into_iter()
                .map(|candidate| self.look(candidate, size, now_us));
            for looked in join_all(looks).await {
                report.streams += 1;
                match looked? {
                    Looked::Nothing => {}
                    Looked::Unreadable { again, since_us } => {
                        report.unreadable += 1;
                        passed_by |= again;
                        report.left(since_us, now_us);
                    }
                    Looked::Page(page, again) => {
                        leaves += page.records.len() + 1;
                        bytes += page.records.iter().map(|r| r.entry.len()).sum::<usize>();
                        if let Some(known) = pages.get_mut(&page.stream) {
                            known.records.extend(page.records);
                        } else {
                            pages.insert(page.stream, *page);
                        }
                        if let Some(again) = again {
                            queue.again(again);
                        }
                    }
                }
            }
            if time.is_short() {
                break;
            }
        }
        Ok(Gathered {
            pages: pages.into_values().collect(),
            passed_by,
        })
    }
}
