//! One run of the sealer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use audit::checkpoint::{CheckGrowthError, TrustedLog};
use audit::note::VerifierKey;
use audit::seal::{SealRules, plan_seal_on};
use audit::{PublicKey, StreamId};
use domain::StoreError;
use domain::ports::{IndexPosition, Signer};

use crate::append::Appended;
use crate::error::SealError;
use crate::gather::Gathered;
use crate::head::{Head, Opened};
use crate::keys::{StreamKeys, log_key, stream_key};
use crate::ports::{Ports, Rules};
use crate::report::{Outcome, RunReport, log_failure, log_finding, log_report};
use crate::spill::Spill;
use crate::unsealed::Refused;

/// What of a run's time is kept back, beside what its longest page took.
const RESERVE: Duration = Duration::from_secs(3);

/// The keys of a run.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) own: VerifierKey,
    pub(crate) log: TrustedLog,
    pub(crate) streams: Vec<(String, PublicKey)>,
}

/// Seals streams into one log.
pub struct Sealer {
    pub(crate) ports: Ports,
    pub(crate) rules: Rules,
    pub(crate) spill: Option<Spill>,
    /// Streams that were replayed and not looked at since.
    pub(crate) replayed: Mutex<BTreeSet<StreamId>>,
    keys: OnceLock<Arc<Keys>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Until when a run may begin another page.
#[derive(Debug)]
pub(crate) struct Time {
    deadline: Option<Instant>,
    longest: Duration,
}

impl Time {
    /// Whether a page that is begun now could come too late.
    pub(crate) fn is_short(&self) -> bool {
        let needed = RESERVE + self.longest + self.longest / 2;
        self.deadline
            .is_some_and(|deadline| Instant::now() + needed > deadline)
    }
}

impl Sealer {
    /// A sealer over these ports.
    pub fn new(ports: Ports, rules: Rules) -> Self {
        Self {
            ports,
            rules,
            spill: None,
            replayed: Mutex::default(),
            keys: OnceLock::new(),
        }
    }

    /// The same, which puts spilled events into their streams before it reads those.
    #[must_use]
    pub fn with_spill(self, spill: Spill) -> Self {
        Self {
            spill: Some(spill),
            ..self
        }
    }

    /// Seals what is there, page by page, until nothing is left or the deadline is near.
    ///
    /// It may be dropped or killed at any point: the next run carries on. What a run finds wrong in streams stands in
    /// the log's seals and is logged with its code; it stops nothing.
    ///
    /// # Errors
    /// [`SealError`]; it is logged. Where [`SealError::is_security`], somebody has to look before anything is sealed.
    pub async fn run(&self, deadline: Option<Instant>) -> Result<RunReport, SealError> {
        let mut report = RunReport::new();
        let result = self.run_here(deadline, &mut report).await;
        match &result {
            Ok(()) => log_report(&report),
            Err(error) => log_failure(error, &self.rules.origin, &report),
        }
        result.map(|()| report)
    }

    async fn run_here(
        &self,
        deadline: Option<Instant>,
        report: &mut RunReport,
    ) -> Result<(), SealError> {
        let keys = &*self.keys().await?;
        let mut head = match self.open(keys, report).await? {
            Opened::Head(head) => *head,
            Opened::Overtaken => {
                report.outcome = Outcome::Overtaken;
                return Ok(());
            }
        };
        report.size = head.checkpoint.size;
        let mut time = Time {
            deadline,
            longest: Duration::ZERO,
        };
        let result = match self.mend_index(&mut head, &time, report).await {
            Ok(()) => self.seal_all(keys, &mut head, &mut time, report).await,
            Err(error) => Err(error),
        };
        let result = match result {
            // What was read is newer than the head that was read before: another sealer works, or the lock was set back.
            Err(SealError::Growth(CheckGrowthError::RolledBack { .. }))
                if self.has_moved(&head).await? =>
            {
                report.outcome = Outcome::Overtaken;
                return Ok(());
            }
            result => result,
        };
        if result.is_err() || report.outcome == Outcome::More {
            let since_us = self.whole_until(&head).await;
            report.left(since_us, self.ports.clock.now_us());
        }
        result
    }

    /// Makes the index anew where it was lost or set back, which only an attack or a restored backup explains.
    async fn mend_index(
        &self,
        head: &mut Head,
        time: &Time,
        report: &mut RunReport,
    ) -> Result<(), SealError> {
        let (indexed, size) = (head.position.tree_size, head.checkpoint.size);
        if indexed == size {
            return Ok(());
        }
        let behind = SealError::IndexBehind { indexed, size };
        tracing::error!(
            event.kind = "security",
            security.code = behind.code(),
            security.subject = self.rules.origin,
            "{behind}: it is made anew from the log"
        );
        self.rebuild_index(head, time).await?;
        report.recovered = true;
        Ok(())
    }

    async fn seal_all(
        &self,
        keys: &Keys,
        head: &mut Head,
        time: &mut Time,
        report: &mut RunReport,
    ) -> Result<(), SealError> {
        let began_us = self.ports.clock.now_us();
        let heartbeat = Some(self.slot(began_us)) != head.sealed_us.map(|us| self.slot(us));
        let spilled = self.replay_spill(time.deadline).await;
        let (candidates, mut complete) = self.candidates(head, &spilled, began_us).await?;
        let mut queue = candidates.into_queue(began_us);
        loop {
            let began = Instant::now();
            let Gathered { pages, passed_by } = self
                .gather(&mut queue, head.checkpoint.size, time, report)
                .await?;
            complete &= !passed_by;
            let now_us = self.ports.clock.now_us();
            let rules = SealRules {
                commands_only: &self.rules.commands_only,
                trusted: &keys.streams,
                idle_after_us: self.rules.idle_after_us,
                // What was gathered fits: it is bounded already.
                max_leaves: u64::MAX,
            };
            let refused = Refused::among(&pages);
            let plan = plan_seal_on(
                self.rules.threads,
                &self.rules.origin,
                head.edge.clone(),
                pages,
                &rules,
                now_us,
            )?;
            report.left(refused.since(&plan), now_us);
            if !plan.is_idle() || (heartbeat && report.checkpoints == 0) {
                plan.findings.iter().for_each(log_finding);
                report.findings += plan.findings.len() as u64;
                let events = plan.ranges.iter().map(|range| range.count).sum::<u64>();
                for candidate in queue.waiting() {
                    let found = plan
                        .streams
                        .binary_search_by_key(&candidate.stream, |state| state.stream);
                    if let Ok(at) = found {
                        candidate.state = Some(plan.streams[at].clone());
                    }
                }
                match self.append(keys, head, plan).await? {
                    Appended::Yes => {
                        report.checkpoints += 1;
                        report.events += events;
                        report.size = head.checkpoint.size;
                    }
                    Appended::Overtaken => {
                        report.outcome = Outcome::Overtaken;
                        return Ok(());
                    }
                }
            }
            time.longest = time.longest.max(began.elapsed());
            if queue.is_empty() {
                break;
            }
            if time.is_short() {
                complete = false;
                break;
            }
        }
        if !complete {
            report.outcome = Outcome::More;
            return Ok(());
        }
        self.forget_replayed(&spilled);
        self.listed(head, began_us).await
    }

    /// Remembers that every stream that was registered until then was found; not in every run, for it costs a write.
    async fn listed(&self, head: &mut Head, began_us: u64) -> Result<(), SealError> {
        let before = head.position.listed_until_us;
        if began_us.saturating_sub(before) < self.rules.heartbeat_us {
            return Ok(());
        }
        head.position = IndexPosition {
            tree_size: head.checkpoint.size,
            listed_until_us: began_us,
        };
        let advance = self.ports.index_writer.advance(head.position).await;
        advance.map_err(SealError::store("say how far the index is"))
    }

    /// Which heartbeat a time belongs to.
    pub(crate) fn slot(&self, time_us: u64) -> u64 {
        time_us / self.rules.heartbeat_us.max(1)
    }

    /// The keys, asked for until all are there.
    async fn keys(&self) -> Result<Arc<Keys>, SealError> {
        if let Some(keys) = self.keys.get() {
            return Ok(Arc::clone(keys));
        }
        let ask = SealError::store("ask for a public key");
        let pem = self.ports.signer.public_key_pem().await.map_err(ask)?;
        let own = log_key(&self.rules.origin, &pem)?;
        let (streams, complete) = match &self.rules.stream_keys {
            StreamKeys::Given(keys) => (keys.clone(), true),
            StreamKeys::Of(signers) => self.ask_for_stream_keys(signers).await?,
        };
        let log_keys = [std::slice::from_ref(&own), &self.rules.earlier_keys].concat();
        let keys = Keys {
            own,
            log: TrustedLog::by_keys(&self.rules.origin, log_keys),
            streams,
        };
        let keys = Arc::new(keys);
        if complete {
            return Ok(Arc::clone(self.keys.get_or_init(|| keys)));
        }
        Ok(keys)
    }

    /// The keys that vouch for streams, and whether all are there. One that is gone stops the sealing where processes
    /// need it; where only people's commands do, their streams wait.
    async fn ask_for_stream_keys(
        &self,
        signers: &[Arc<dyn Signer>],
    ) -> Result<(Vec<(String, PublicKey)>, bool), SealError> {
        let mut keys = Vec::with_capacity(signers.len());
        for signer in signers {
            let id = signer.key_id();
            let is_dispensable = self.rules.commands_only.iter().any(|only| only == id);
            match signer.public_key_pem().await {
                Ok(pem) => keys.push(stream_key(id, &pem)?),
                Err(
                    error @ (StoreError::Denied(_)
                    | StoreError::NotFound(_)
                    | StoreError::Corrupt(_)),
                ) if is_dispensable => tracing::error!(
                    event.kind = "security",
                    security.code = "audit.operator_key_unusable",
                    security.subject = id,
                    "the streams of people's commands are not sealed: {error}"
                ),
                Err(error) => return Err(SealError::store("ask for a public key")(error)),
            }
        }
        let complete = keys.len() == signers.len();
        Ok((keys, complete))
    }
}
