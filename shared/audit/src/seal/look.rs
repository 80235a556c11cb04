//! What of a record does not depend on the records before it: its form, its signature and its hash. It takes four fifths
//! of a run's time, and is done on several threads where the caller has them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ed25519_dalek::VerifyingKey;

use super::FindingKind;
use super::turn::Turn;
use crate::canonical::leaf_hash;
use crate::event::EventBody;
use crate::stream::{LeafHash, MAX_ENTRY_BYTES, Record, StreamId};
use crate::verify::{StreamFault, parse_event, verify_entry};

/// Records that a thread takes at once.
const CHUNK: usize = 64;

/// What a record is.
pub(super) struct Looked {
    /// Hash of the entry.
    pub(super) leaf: LeafHash,
    /// What the event says of its place, or what is wrong.
    pub(super) event: Result<Place, (FindingKind, String)>,
}

/// Where an event says that it stands.
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) prev: LeafHash,
    /// Whether it closes its stream.
    pub(super) stopped: bool,
}

/// Looks at one record of the stream that has this key.
fn look_at(stream: StreamId, key: &VerifyingKey, record: &Record) -> Looked {
    let length = record.entry.len();
    let event = if length > MAX_ENTRY_BYTES {
        let detail = format!("an entry of {length} bytes is longer than {MAX_ENTRY_BYTES}");
        Err((FindingKind::TooLarge, detail))
    } else {
        read(stream, key, record).map_err(|fault| (FindingKind::from(&fault), fault.to_string()))
    };
    Looked {
        leaf: LeafHash(leaf_hash(&record.entry)),
        event,
    }
}

fn read(stream: StreamId, key: &VerifyingKey, record: &Record) -> Result<Place, StreamFault> {
    let event = parse_event(&record.entry, stream, record.seq)?;
    verify_entry(key, &record.entry, &event, &record.signature)?;
    Ok(Place {
        seq: event.seq,
        prev: event.prev,
        stopped: matches!(event.body, EventBody::ProcessStopped(_)),
    })
}

/// Looks at the records that fit into the shares, in the order of turns and records. The threads change nothing but the
/// time that it takes.
pub(super) fn look(turns: &[Turn], shares: &[u64], threads: NonZeroUsize) -> Vec<Vec<Looked>> {
    let mut chunks: Vec<(usize, &VerifyingKey, &[Record])> = Vec::new();
    for (at, (turn, share)) in turns.iter().zip(shares).enumerate() {
        if let Some((key, records)) = turn.records(*share) {
            chunks.extend(records.chunks(CHUNK).map(|records| (at, key, records)));
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((at, key, records)) = chunks.get(number) else {
                return done;
            };
            let stream = turns[*at].page.stream;
            let looked = records.iter().map(|record| look_at(stream, key, record));
            done.push((number, looked.collect::<Vec<Looked>>()));
        }
    };
    let others = threads.get().min(chunks.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    let mut looked: Vec<Vec<Looked>> = turns.iter().map(|_| Vec::new()).collect();
    for ((at, ..), (_, records)) in chunks.iter().zip(done) {
        looked[*at].extend(records);
    }
    looked
}
