//! A log in memory, sealed by the code under test.

use std::collections::BTreeMap;

use audit::checkpoint::{Checkpoint, TrustedLog};
use audit::event::{EventBody, Security};
use audit::note::{KeyName, SignedNote, VerifierKey};
use audit::proof_file::ProofFile;
use audit::seal::{
    LeafRange, LogEdge, SealPlan, SealRules, SealedStream, StagedSeal, StreamPage, plan_seal,
};
use audit::tiles::{TileId, TreeReader};
use audit::whole_log::{LogReport, verify_log};
use audit::{PublicKey, Record, SignedRegistration, Stream, StreamId};
use ed25519_dalek::{Signer, SigningKey};

pub(crate) const ORIGIN: &str = "example.com/audit";
pub(crate) const START_US: u64 = 1_700_000_000_000_000;
pub(crate) const MINUTE_US: u64 = 60_000_000;

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(crate) fn verifier() -> VerifierKey {
    VerifierKey::ed25519(KeyName::parse(ORIGIN).unwrap(), &public(&log_key())).unwrap()
}

pub(crate) fn trusted_log() -> TrustedLog {
    TrustedLog::by_keys(ORIGIN, vec![verifier()])
}

pub(crate) fn registrar() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn trusted() -> Vec<(String, PublicKey)> {
    vec![("registration-1".to_owned(), public(&registrar()))]
}

pub(crate) fn sign(text: &str) -> SignedNote {
    let mut note = SignedNote::new(text.to_owned()).unwrap();
    let signature = log_key().sign(text.as_bytes()).to_bytes();
    note.add(&verifier(), signature.to_vec()).unwrap();
    note
}

/// A stream with its records, as a store has them.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: StreamId,
    pub(crate) registration: SignedRegistration,
    pub(crate) records: Vec<Record>,
}

pub(crate) fn body(n: usize) -> EventBody {
    EventBody::Security(Security {
        code: "test.code".to_owned(),
        detail: "x".repeat(n % 50),
        subject: format!("subject {n}"),
    })
}

pub(crate) fn stopped() -> EventBody {
    EventBody::ProcessStopped(audit::event::ProcessStopped {
        reason: "told to".to_owned(),
    })
}

pub(crate) fn open(id: u8) -> (Stream, SignedRegistration) {
    let (stream, registration) = Stream::open([id; 16], &[id; 32], "test", START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = registrar().sign(&registration).to_bytes();
    let signed = SignedRegistration {
        registration,
        key_id: "registration-1".to_owned(),
        signature,
    };
    (stream, signed)
}

pub(crate) fn written(id: u8, count: usize) -> Written {
    let (mut stream, registration) = open(id);
    let id = stream.id();
    let records = (0..count).map(|n| stream.record(body(n), START_US + n as u64).unwrap());
    Written {
        id,
        records: records.collect(),
        registration,
    }
}

/// A store of tiles and rows, and the sealer's view of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) tiles: BTreeMap<String, Vec<u8>>,
    pub(crate) states: BTreeMap<StreamId, SealedStream>,
    pub(crate) ranges: Vec<LeafRange>,
    pub(crate) note: Option<SignedNote>,
    pub(crate) now_us: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            now_us: START_US,
            ..Self::default()
        }
    }

    pub(crate) fn reader(&self) -> impl FnMut(TileId) -> Result<Vec<u8>, String> + '_ {
        |tile| {
            let bytes = self.tiles.get(&tile.to_string());
            bytes.cloned().ok_or_else(|| "not found".to_owned())
        }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        match &self.note {
            Some(note) => trusted_log().open(note.to_string().as_bytes()).unwrap().0,
            None => LogEdge::new().checkpoint(ORIGIN),
        }
    }

    pub(crate) fn edge(&self) -> LogEdge {
        LogEdge::read(&self.checkpoint(), &mut self.reader()).unwrap()
    }

    pub(crate) fn pages(&self, streams: &[Written]) -> Vec<StreamPage> {
        let mut streams: Vec<&Written> = streams.iter().collect();
        streams.sort_by_key(|stream| stream.id);
        let page = |stream: &&Written| {
            let known = self.states.get(&stream.id).cloned();
            let from = known.as_ref().map_or(0, |known| known.next_seq);
            let mut records = stream.records.clone();
            records.retain(|record| record.seq >= from);
            StreamPage {
                stream: stream.id,
                known,
                registration: Some(stream.registration.clone()),
                records,
            }
        };
        streams.iter().map(page).collect()
    }

    pub(crate) fn plan(&self, streams: &[Written], max_leaves: u64) -> SealPlan {
        let trusted = trusted();
        let rules = SealRules {
            commands_only: &[],
            trusted: &trusted,
            idle_after_us: 10 * MINUTE_US,
            max_leaves,
        };
        plan_seal(
            ORIGIN,
            self.edge(),
            self.pages(streams),
            &rules,
            self.now_us,
        )
        .unwrap()
    }

    pub(crate) fn write(&mut self, staged: &StagedSeal) {
        for (tile, bytes) in &staged.tiles {
            let before = self.tiles.insert(tile.to_string(), bytes.clone());
            assert!(
                before.is_none_or(|before| before == *bytes),
                "{tile} was another"
            );
        }
        for state in &staged.streams {
            self.states.insert(state.stream, state.clone());
        }
        self.ranges.extend(&staged.ranges);
        self.note = Some(staged.note.clone());
    }

    /// A run of the sealer, a minute after the one before.
    pub(crate) fn seal(&mut self, streams: &[Written]) -> SealPlan {
        self.seal_at_most(streams, 100_000)
    }

    pub(crate) fn seal_at_most(&mut self, streams: &[Written], max_leaves: u64) -> SealPlan {
        let plan = self.plan(streams, max_leaves);
        let note = sign(plan.text());
        self.write(&plan.clone().stage(note).unwrap());
        self.now_us += MINUTE_US;
        plan
    }

    pub(crate) fn verify(&self) -> LogReport {
        verify_log(
            &self.checkpoint(),
            &trusted(),
            &mut self.reader(),
            &mut |_| {},
        )
    }

    pub(crate) fn prove(&self, index: u64) -> ProofFile {
        let mut tree = TreeReader::new(self.checkpoint().size, self.reader());
        ProofFile {
            extra: None,
            index,
            hashes: tree.prove_inclusion(index).unwrap(),
            checkpoint: self.note.as_ref().unwrap().to_string(),
        }
    }

    /// Index of an event in the log.
    pub(crate) fn index_of(&self, stream: StreamId, seq: u64) -> u64 {
        let holds = |range: &&LeafRange| {
            range.stream == stream && (range.seq_lo..range.seq_lo + range.count).contains(&seq)
        };
        let range = self.ranges.iter().find(holds).unwrap();
        range.index + seq - range.seq_lo
    }
}
