//! The thread that writes answers, many in one transaction.

use std::sync::{Arc, mpsc};

use artifact::Sha256Digest;
use domain::StoreError;
use domain::ports::{ClaimKey, ClaimToken};
use tokio::sync::oneshot;

use super::table::Row;
use super::{State, closed};

/// Answers in one transaction at most.
const MAX_BATCH: usize = 4096;
/// Rows that one purging transaction looks at, so that answers do not wait long for it.
const PURGE_ROWS: usize = 2048;

/// The claim is answered by a row of the same batch.
#[derive(Debug, PartialEq, Eq)]
struct AlreadyStaged;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the committer is asked to do.
pub(super) enum Job {
    /// Record an answer.
    Answer {
        key: ClaimKey,
        token: ClaimToken,
        answer: Vec<u8>,
        expires_us: u64,
        reply: Reply<()>,
    },
    /// Remove what had expired; `removed` rows are gone already.
    Purge {
        now_us: u64,
        removed: u64,
        reply: Reply<u64>,
    },
    /// Say whether answers could be written.
    Check { reply: Reply<()> },
    /// Write what came before, and stop.
    Close,
}

pub(super) struct Committer {
    state: Arc<State>,
    queue: mpsc::Receiver<Job>,
    rows: Vec<(ClaimKey, Row)>,
    waiting: Vec<Reply<()>>,
    purge: Option<(u64, u64, Reply<u64>)>,
}

impl Committer {
    pub(super) fn new(state: Arc<State>, queue: mpsc::Receiver<Job>) -> Self {
        Self {
            state,
            queue,
            rows: Vec::new(),
            waiting: Vec::new(),
            purge: None,
        }
    }

    pub(super) fn run(mut self) {
        let mut closing = false;
        while !closing {
            // A purge goes on between batches, whether or not there is something to answer.
            if self.purge.is_none() {
                let Ok(job) = self.queue.recv() else { return };
                closing = self.take(job);
            }
            while !closing && self.rows.len() < MAX_BATCH {
                let Ok(job) = self.queue.try_recv() else {
                    break;
                };
                closing = self.take(job);
            }
            self.commit();
            self.purge_some();
        }
        if let Some((_, removed, reply)) = self.purge.take() {
            answer(reply, Ok(removed));
        }
        while let Ok(job) = self.queue.try_recv() {
            match job {
                Job::Answer { reply, .. } | Job::Check { reply } => answer(reply, Err(closed())),
                Job::Purge { reply, .. } => answer(reply, Err(closed())),
                Job::Close => {}
            }
        }
    }

    /// Takes one job; true where it is the last.
    fn take(&mut self, job: Job) -> bool {
        match job {
            Job::Answer {
                key,
                token,
                answer,
                expires_us,
                reply,
            } => {
                self.stage(key, token, answer, expires_us, reply);
            }
            Job::Purge {
                now_us,
                removed,
                reply,
            } => {
                self.state.forget_lapsed(now_us);
                if let Some((_, removed, reply)) = self.purge.replace((now_us, removed, reply)) {
                    answer(reply, Ok(removed));
                }
            }
            // No transaction is open between two jobs.
            Job::Check { reply } => answer(reply, self.state.answers.check()),
            Job::Close => return true,
        }
        false
    }

    fn stage(
        &mut self,
        key: ClaimKey,
        token: ClaimToken,
        bytes: Vec<u8>,
        expires_us: u64,
        reply: Reply<()>,
    ) {
        let mut payload = self.begin_answer(&key, token);
        if payload == Err(AlreadyStaged) {
            // The second answer to one claim in one batch is a retry, to be judged by what the first left.
            self.commit();
            payload = self.begin_answer(&key, token);
        }
        if let Ok(Some(payload)) = payload {
            self.rows.push((
                key,
                Row {
                    expires_us,
                    token,
                    payload,
                    answer: bytes,
                },
            ));
            self.waiting.push(reply);
            return;
        }
        let recorded = self.state.answers.get(&key);
        answer(
            reply,
            match recorded {
                Ok(Some(row)) if row.token == token && row.answer == bytes => Ok(()),
                Ok(_) => Err(StoreError::Conflict(format!(
                    "request {}: the claim is held by nobody or by somebody else",
                    key.request
                ))),
                Err(error) => Err(error),
            },
        );
    }

    /// Marks the claim as being answered, and gives its payload; `None` where the token does not hold it.
    fn begin_answer(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
    ) -> Result<Option<Sha256Digest>, AlreadyStaged> {
        let mut shard = self.state.shard(key);
        let Some(held) = shard.get_mut(key).filter(|held| held.token == token) else {
            return Ok(None);
        };
        if std::mem::replace(&mut held.answering, true) {
            return Err(AlreadyStaged);
        }
        Ok(Some(held.payload))
    }

    fn commit(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let result = self.state.answers.insert(&self.rows);
        for (key, row) in self.rows.drain(..) {
            let mut shard = self.state.shard(&key);
            if result.is_ok() {
                shard.remove(&key);
            } else if let Some(held) = shard.get_mut(&key).filter(|held| held.token == row.token) {
                held.answering = false;
            }
        }
        for reply in self.waiting.drain(..) {
            answer(reply, result.clone());
        }
    }

    fn purge_some(&mut self) {
        let Some((now_us, removed, reply)) = self.purge.take() else {
            return;
        };
        match self.state.answers.remove_expired(now_us, PURGE_ROWS) {
            Ok((seen, more)) if seen < PURGE_ROWS => answer(reply, Ok(removed + more)),
            Ok((_, more)) => self.purge = Some((now_us, removed + more, reply)),
            Err(error) => answer(reply, Err(error)),
        }
    }
}

/// Answers; whoever went away meanwhile does not hear it.
fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    let _ = reply.send(result);
}
