//! Which streams a run looks at, and in what order.

use std::collections::{BTreeMap, VecDeque};

use audit::StreamId;
use audit::seal::SealedStream;

/// Why a stream is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// It was registered lately; nothing has to be done where it is known.
    Registered,
    /// Its events are expected.
    Open,
    /// Its hour is looked at again, also where the stream is closed.
    Sweep,
    /// It was replayed out of the spill: it has records that this run or a later one must see.
    Replayed,
}

/// A stream that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) stream: StreamId,
    pub(crate) why: Why,
    /// Its state, where that was read.
    pub(crate) state: Option<SealedStream>,
    /// Where reading goes on; none: where the state ends.
    pub(crate) from: Option<u64>,
}

/// Collects candidates, each once, under the strongest reason.
#[derive(Debug, Default)]
pub(crate) struct Candidates(BTreeMap<StreamId, Candidate>);

impl Candidates {
    pub(crate) fn add(&mut self, stream: StreamId, why: Why) {
        let candidate = self.0.entry(stream).or_insert(Candidate {
            stream,
            why,
            state: None,
            from: None,
        });
        candidate.why = candidate.why.max(why);
    }

    pub(crate) fn add_open(&mut self, state: SealedStream) {
        self.add(state.stream, Why::Open);
        if let Some(candidate) = self.0.get_mut(&state.stream) {
            candidate.state = Some(state);
        }
    }

    /// In the order of the streams, beginning somewhere else in every run: where time runs out before the last, it is
    /// not always the same one.
    pub(crate) fn into_queue(self, now_us: u64) -> Queue {
        let mut streams: VecDeque<Candidate> = self.0.into_values().collect();
        if !streams.is_empty() {
            // Consecutive seconds begin far from each other (Knuth's multiplicative hash).
            let spread = (now_us / 1_000_000).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            streams.rotate_left((spread % streams.len() as u64) as usize);
        }
        Queue {
            now: streams,
            later: VecDeque::new(),
        }
    }
}

/// The streams that are still to be looked at, in rounds: one that has more than a read gives comes again when the
/// others had their turn.
#[derive(Debug)]
pub(crate) struct Queue {
    now: VecDeque<Candidate>,
    later: VecDeque<Candidate>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.later.is_empty()
    }

    /// The next streams, at most `count`.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Candidate> {
        if self.now.is_empty() {
            std::mem::swap(&mut self.now, &mut self.later);
        }
        let count = count.min(self.now.len());
        self.now.drain(..count).collect()
    }

    /// Takes the stream's turn again after all others'.
    pub(crate) fn again(&mut self, candidate: Candidate) {
        self.later.push_back(candidate);
    }

    /// Every stream that has another turn.
    pub(crate) fn waiting(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.now.iter_mut().chain(self.later.iter_mut())
    }
}
