//! The items of one stream: read together, and put into the log in as few writes as they fit in.

use std::sync::Arc;

use audit::{Record, SignedRegistration, StreamFault, StreamId};
use futures::future::FutureExt;
use futures::stream::{StreamExt, iter};

use super::{Bounds, Part, ReplayPorts, UNREAD, WaitingStream, set_aside, tag_of};
use crate::StoreError;
use crate::spill::item::{SpillContent, SpillItem, SpillName};

/// Items of one stream that are read, and removed, at once. With eight streams of items of 1 MiB that is what a run holds
/// in memory at most.
const AT_ONCE: usize = 8;

/// Items that are taken together, and bytes of entries in one write, at most.
const MAX_ITEMS: usize = 128;
const MAX_BYTES: usize = 4 << 20;

/// Replays the items of a stream, which come in the order of their names.
pub(super) async fn replay_stream(
    ports: &ReplayPorts,
    bounds: &Bounds,
    stream: StreamId,
    names: &[SpillName],
) -> Part {
    let mut replay = Replay {
        ports,
        bounds,
        stream,
        signed: None,
        part: Part::default(),
    };
    for names in names.chunks(MAX_ITEMS) {
        let taken = if bounds.is_over(ports.clock.now_us()) {
            0
        } else {
            bounds.take(names.len())
        };
        let done_before = replay.part.done();
        let next = replay.items(&names[..taken]).await;
        // Items that wait cost a run nothing of its limit.
        bounds.give_back(taken.saturating_sub(replay.part.done() - done_before));
        if next == Next::Stop || taken < names.len() {
            replay.part.left = true;
            break;
        }
    }
    replay.part
}

/// Whether the items that follow can be replayed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// Records of items that follow each other without a gap.
struct Joined {
    records: Vec<Record>,
    bytes: usize,
    items: Vec<(SpillName, Vec<Record>, String)>,
}

impl Joined {
    fn of(name: SpillName, records: Vec<Record>, tag: String) -> Self {
        Self {
            bytes: bytes_of(&records),
            records: records.clone(),
            items: vec![(name, records, tag)],
        }
    }

    /// Adds an item that begins within these records or right after them, and says the same where both say something.
    fn add(
        &mut self,
        name: SpillName,
        records: Vec<Record>,
        tag: String,
    ) -> Result<(), (SpillName, Vec<Record>, String)> {
        let (Some(start), Some(first)) = (self.records.first(), records.first()) else {
            return Err((name, records, tag));
        };
        let Some(at) = first.seq.checked_sub(start.seq) else {
            return Err((name, records, tag));
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(known) = self.records.get(at..) else {
            return Err((name, records, tag));
        };
        let same = known.iter().zip(&records).all(|(a, b)| a == b);
        if !same || self.bytes + bytes_of(&records) > MAX_BYTES {
            return Err((name, records, tag));
        }
        let new = records.get(known.len()..).unwrap_or_default();
        self.bytes += bytes_of(new);
        self.records.extend_from_slice(new);
        self.items.push((name, records, tag));
        Ok(())
    }
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.entry.len()).sum()
}

struct Replay<'a> {
    ports: &'a ReplayPorts,
    bounds: &'a Bounds,
    stream: StreamId,
    /// The stream's registration, once it was read from the log.
    signed: Option<SignedRegistration>,
    part: Part,
}

impl Replay<'_> {
    async fn items(&mut self, names: &[SpillName]) -> Next {
        let reader = Arc::clone(&self.ports.reader);
        let reads = names.iter().map(|name| {
            let (name, reader) = (*name, Arc::clone(&reader));
            async move { (name, reader.read(&name.to_string()).await) }.boxed()
        });
        let mut read = iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE);
        let mut joined: Option<Joined> = None;
        while let Some((name, bytes)) = read.next().await {
            let Some((item, tag)) = (match bytes {
                Ok(bytes) => self.parse(name, &bytes).await,
                // Another run was faster.
                Err(StoreError::NotFound(_)) => None,
                Err(StoreError::Corrupt(reason)) => {
                    self.set_aside(name, UNREAD, "spill.item_unreadable", &reason)
                        .await;
                    None
                }
                Err(error) => {
                    // What was read before it stands by itself.
                    let _ = self.write(joined.take()).await;
                    return self.fail(error);
                }
            }) else {
                continue;
            };
            let records = match item.content() {
                SpillContent::Registration(signed) => {
                    if self.registration(name, signed, &tag).await == Next::Stop {
                        return Next::Stop;
                    }
                    continue;
                }
                SpillContent::Records(records) => records.clone(),
            };
            let rest = match &mut joined {
                Some(joined) => joined.add(name, records, tag).err(),
                None => Some((name, records, tag)),
            };
            if let Some((name, records, tag)) = rest {
                if self.write(joined.take()).await == Next::Stop {
                    return Next::Stop;
                }
                joined = Some(Joined::of(name, records, tag));
            }
        }
        self.write(joined).await
    }

    /// The item; what is none is set aside.
    async fn parse(&mut self, name: SpillName, bytes: &[u8]) -> Option<(SpillItem, String)> {
        let tag = tag_of(bytes);
        match SpillItem::parse(&name.to_string(), bytes) {
            Ok(item) => Some((item, tag)),
            Err(fault) => {
                let detail = fault.to_string();
                self.set_aside(name, &tag, "spill.item_unreadable", &detail)
                    .await;
                None
            }
        }
    }

    async fn registration(
        &mut self,
        name: SpillName,
        signed: &SignedRegistration,
        tag: &str,
    ) -> Next {
        match self.ports.restorer.restore_registration(signed).await {
            Ok(()) => self.remove(&[name]).await,
            Err(StoreError::Conflict(reason)) => {
                self.set_aside(name, tag, "spill.registration_taken", &reason)
                    .await;
            }
            Err(error) => return self.fail(error),
        }
        Next::GoOn
    }

    /// Puts records into the log, and removes their items.
    async fn write(&mut self, joined: Option<Joined>) -> Next {
        let Some(joined) = joined else {
            return Next::GoOn;
        };
        let first = joined.records.first().map_or(0, |record| record.seq);
        if self.signed.is_none() {
            match self.ports.log.registration(self.stream).await {
                Ok(signed) => self.signed = Some(signed),
                Err(StoreError::NotFound(_)) => {
                    return self.wait(first, "the stream's registration".to_owned());
                }
                Err(error) => return self.fail(error),
            }
        }
        let sound = self.check(&joined.records);
        if sound == Ok(()) {
            match self.ports.restorer.restore(&joined.records).await {
                Ok(()) => {
                    let names: Vec<SpillName> = joined.items.iter().map(|item| item.0).collect();
                    self.remove(&names).await;
                    return Next::GoOn;
                }
                Err(StoreError::NotFound(missing)) if joined.items.len() == 1 => {
                    return self.wait(first, missing);
                }
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(error) => return self.fail(error),
            }
        }
        // One of them is not what it should be: each for itself shows which.
        for (name, records, tag) in joined.items {
            if self.write_alone(name, &records, &tag).await == Next::Stop {
                return Next::Stop;
            }
        }
        Next::GoOn
    }

    async fn write_alone(&mut self, name: SpillName, records: &[Record], tag: &str) -> Next {
        let first = records.first().map_or(0, |record| record.seq);
        match self.check(records) {
            Ok(()) => {}
            // A record that is none must not take the place of one.
            Err(fault @ StreamFault::Signature(_)) => {
                let detail = fault.to_string();
                self.set_aside(name, tag, "spill.signature_invalid", &detail)
                    .await;
                return Next::GoOn;
            }
            Err(fault) => return self.wait(first, fault.to_string()),
        }
        match self.ports.restorer.restore(records).await {
            Ok(()) => self.remove(&[name]).await,
            Err(StoreError::NotFound(missing)) => return self.wait(first, missing),
            Err(StoreError::Conflict(reason)) => {
                self.set_aside(name, tag, "spill.position_taken", &reason)
                    .await;
            }
            Err(error) => return self.fail(error),
        }
        Next::GoOn
    }

    fn check(&self, records: &[Record]) -> Result<(), StreamFault> {
        let signed = self.signed.as_ref();
        signed.map_or(Ok(()), |signed| {
            audit::verify::check_signatures(signed, records)
        })
    }

    /// The items are in the log.
    async fn remove(&mut self, names: &[SpillName]) {
        self.bounds.succeeded();
        self.part.replayed = true;
        let spill = &self.ports.remover;
        let calls = names
            .iter()
            .map(|name| async move { (name.events(), spill.remove(name).await) }.boxed());
        let removed: Vec<_> = iter(calls.collect::<Vec<_>>())
            .buffered(AT_ONCE)
            .collect()
            .await;
        for (events, removed) in removed {
            match removed {
                Ok(()) => {
                    self.part.items += 1;
                    self.part.events += events;
                }
                // It is replayed once more, without effect.
                Err(error) => self.part.failed.push(error),
            }
        }
    }

    fn wait(&mut self, first: u64, missing: String) -> Next {
        self.bounds.succeeded();
        let stream = self.stream;
        tracing::warn!(code = "spill.event_missing", audit.stream = %stream, audit.seq = first, missing, "spilled events wait for what comes before them");
        self.part.waiting = Some(WaitingStream {
            stream,
            first,
            missing,
        });
        Next::Stop
    }

    fn fail(&mut self, error: StoreError) -> Next {
        self.bounds.failed();
        self.part.failed.push(error);
        Next::Stop
    }

    async fn set_aside(&mut self, name: SpillName, tag: &str, code: &'static str, detail: &str) {
        let name = name.to_string();
        let found = set_aside(self.ports, &name, tag, code, detail).await;
        self.part.findings.extend(found);
    }
}
