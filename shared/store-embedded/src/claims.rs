//! Request claims: who is answering lives in memory and dies with the process;
//! what was answered lives in redb.

mod committer;
mod table;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use artifact::Sha256Digest;
use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{Claim, ClaimKey, ClaimToken, Entropy, RequestClaims};
use domain::system::SystemEntropy;
use tokio::sync::oneshot;

use self::committer::{Committer, Job};
use self::table::Answers;
use crate::durable;
use crate::error::{OpenError, run_blocking, unavailable};

/// Locks that the claims are spread over.
const SHARDS: usize = 64;
/// How long a claim is remembered after its lease ended (one hour in microseconds), so that until then the id
/// cannot be used for another payload.
const KEEP_LAPSED_US: u64 = 3_600_000_000;

/// A claim that was won and not yet answered.
#[derive(Debug)]
struct Held {
    payload: Sha256Digest,
    token: ClaimToken,
    lease_ends_us: u64,
    /// True while the answer is being written: the claim cannot be lost then.
    answering: bool,
}

#[derive(Debug)]
struct State {
    shards: [Mutex<HashMap<ClaimKey, Held>>; SHARDS],
    hasher: RandomState,
    answers: Answers,
    next_token: AtomicU64,
}

impl State {
    fn shard(&self, key: &ClaimKey) -> MutexGuard<'_, HashMap<ClaimKey, Held>> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(
        &self,
        key: &ClaimKey,
        payload: Sha256Digest,
        now_us: u64,
        lease_us: u64,
    ) -> Result<Claim, StoreError> {
        // The lock is held while the table is read: an answer is in the table before its claim leaves the map,
        // so one of the two always shows it.
        let mut shard = self.shard(key);
        let lapsed = match shard.get(key) {
            Some(held) if held.answering || held.lease_ends_us > now_us => {
                let same = held.payload == payload;
                return Ok(if same {
                    Claim::InProgress
                } else {
                    Claim::Mismatch
                });
            }
            lapsed => lapsed.map(|held| held.payload),
        };
        if let Some(row) = self.answers.get(key)?
            && row.expires_us > now_us
        {
            shard.remove(key);
            return Ok(if row.payload == payload {
                Claim::Answered(row.answer)
            } else {
                Claim::Mismatch
            });
        }
        if lapsed.is_some_and(|other| other != payload) {
            return Ok(Claim::Mismatch);
        }
        let token = ClaimToken(self.next_token.fetch_add(1, Ordering::Relaxed));
        let lease_ends_us = now_us.saturating_add(lease_us);
        shard.insert(
            key.clone(),
            Held {
                payload,
                token,
                lease_ends_us,
                answering: false,
            },
        );
        Ok(Claim::Won(token))
    }

    fn forget_lapsed(&self, now_us: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, held| {
                held.answering || held.lease_ends_us.saturating_add(KEEP_LAPSED_US) > now_us
            });
        }
    }
}

/// Request claims with their answers in `DATA/state.redb`, which one process at a time can open.
///
/// Answers are written by one thread that puts all that wait into one transaction. After an error of the disk
/// every answer is refused until the database is opened anew.
#[derive(Debug)]
pub struct RedbClaims {
    state: Arc<State>,
    jobs: mpsc::Sender<Job>,
    committer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    inode: Inode,
}

/// Which file it is, whatever its name: device and number.
type Inode = (u64, u64);

fn inode(path: &Path) -> std::io::Result<Inode> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl RedbClaims {
    /// Opens `DATA/state.redb`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it open; other [`OpenError`]s where it cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("state.redb");
        durable::create_dir(data_dir).map_err(OpenError::io("create", data_dir))?;
        let answers = Answers::open(&path)?;
        let mut first_token = [0; 8];
        SystemEntropy
            .fill(&mut first_token)
            .map_err(|error| OpenError::malformed(&path, error))?;
        let state = Arc::new(State {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            answers,
            next_token: AtomicU64::new(u64::from_ne_bytes(first_token)),
        });
        let (jobs, queue) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&state), queue);
        let committer = std::thread::Builder::new()
            .name("claims-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(OpenError::io("start the committer of", &path))?;
        Ok(Self {
            state,
            jobs,
            committer: Mutex::new(Some(committer)),
            inode: inode(&path).map_err(OpenError::io("look at", &path))?,
            path,
        })
    }

    /// Removes answers that had expired at `now_us`, and claims whose holders are long gone; gives the number of
    /// answers removed. It costs only what there is to remove: once an hour is often enough.
    ///
    /// # Errors
    /// [`StoreError`] where the database refuses; what was removed before stays removed.
    pub async fn purge_expired(&self, now_us: u64) -> Result<u64, StoreError> {
        let (reply, result) = oneshot::channel();
        self.jobs
            .send(Job::Purge {
                now_us,
                removed: 0,
                reply,
            })
            .map_err(|_| closed())?;
        result.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Whether the database is there and takes answers.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where its file was removed or replaced; [`StoreError::Unavailable`] where it was
    /// closed or its disk failed.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let (path, opened) = (self.path.clone(), self.inode);
        run_blocking(move || match inode(&path) {
            Ok(found) if found == opened => Ok(()),
            Ok(_) => Err(StoreError::NotFound(format!(
                "{} is another file than was opened",
                path.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NotFound(path.display().to_string()))
            }
            Err(error) => Err(unavailable("look at", &path)(error)),
        })
        .await?;
        let (reply, result) = oneshot::channel();
        self.jobs.send(Job::Check { reply }).map_err(|_| closed())?;
        result.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Writes what is queued, and stops; later answers are refused. Blocks for as long as the disk takes.
    pub fn close(&self) {
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(committer) = committer {
            // Where either fails the thread is gone already.
            let _ = self.jobs.send(Job::Close);
            let _ = committer.join();
        }
    }
}

impl Drop for RedbClaims {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store of answers is closed".to_owned())
}

fn stopped() -> StoreError {
    StoreError::OutcomeUnknown("the writer of answers stopped before it answered".to_owned())
}

#[async_trait]
impl RequestClaims for RedbClaims {
    async fn claim(
        &self,
        key: &ClaimKey,
        payload: Sha256Digest,
        now_us: u64,
        lease_us: u64,
    ) -> Result<Claim, StoreError> {
        let (state, key) = (Arc::clone(&self.state), key.clone());
        run_blocking(move || state.claim(&key, payload, now_us, lease_us)).await
    }

    async fn answer(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
        answer: &[u8],
        expires_us: u64,
    ) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        let (key, answer) = (key.clone(), answer.to_vec());
        self.jobs
            .send(Job::Answer {
                key,
                token,
                answer,
                expires_us,
                reply,
            })
            .map_err(|_| closed())?;
        result.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn release(&self, key: &ClaimKey, token: ClaimToken) -> Result<(), StoreError> {
        let mut shard = self.state.shard(key);
        if shard
            .get(key)
            .is_some_and(|held| held.token == token && !held.answering)
        {
            shard.remove(key);
        }
        Ok(())
    }
}
