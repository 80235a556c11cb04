//! A sealed log in a folder, with the keys that verify it, sealed by the code that servers seal with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use audit::event::{EventBody, Security};
use audit::note::{KeyName, SignedNote, VerifierKey};
use audit::seal::{LogEdge, SealRules, SealedStream, StreamPage, plan_seal};
use audit::tiles::CHECKPOINT_PATH;
use audit::{PublicKey, Receipt, Record, SignedRegistration, Stream, StreamId};
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::{TempDir, tempdir};

pub(crate) const ORIGIN: &str = "example.com/audit";
const START_US: u64 = 1_700_000_000_000_000;
const REGISTRAR_ID: &str = "registration-1";

/// A stream and its records, as a store has them.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) registration: SignedRegistration,
    pub(crate) records: Vec<Record>,
}

impl Written {
    pub(crate) fn id(&self) -> StreamId {
        self.records[0].stream
    }

    pub(crate) fn receipt(&self, seq: usize) -> String {
        receipt(self.records[seq].receipt())
    }
}

/// A receipt as answers carry it.
pub(crate) fn receipt(receipt: Receipt) -> String {
    format!("{}:{}:{}", receipt.stream, receipt.seq, receipt.leaf_hash)
}

/// A stream of `count` events; `subject` makes the events of one stream different from those of another history.
pub(crate) fn stream(id: u8, count: usize, subject: &str) -> Written {
    let (mut stream, registration) = Stream::open([id; 16], &[id; 32], "test", START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = registrar().sign(&registration).to_bytes();
    let record = |n: usize| {
        let body = EventBody::Security(Security {
            code: "test.code".to_owned(),
            detail: "x".repeat(n % 50),
            subject: format!("{subject} {n}"),
        });
        stream.record(body, START_US + n as u64).unwrap()
    };
    Written {
        records: (0..count).map(record).collect(),
        registration: SignedRegistration {
            registration,
            key_id: REGISTRAR_ID.to_owned(),
            signature,
        },
    }
}

fn registrar() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn verifier(seed: u8) -> VerifierKey {
    let key = SigningKey::from_bytes(&[seed; 32]);
    VerifierKey::ed25519(KeyName::parse(ORIGIN).unwrap(), &public(&key)).unwrap()
}

/// A folder with `log/`, and beside it `log.vkey`, `other.vkey`, `registration.pem`, `other.pem`.
pub(crate) struct Sealed {
    pub(crate) temp: TempDir,
    edge: LogEdge,
    states: BTreeMap<StreamId, SealedStream>,
    now_us: u64,
}

impl Sealed {
    pub(crate) fn new() -> Self {
        let temp = tempdir().unwrap();
        for (name, seed) in [("log.vkey", 7), ("other.vkey", 8)] {
            fs::write(temp.path().join(name), format!("{}\n", verifier(seed))).unwrap();
        }
        for (name, seed) in [("registration.pem", 9), ("other.pem", 10)] {
            let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
            let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
            fs::write(temp.path().join(name), pem).unwrap();
        }
        Self {
            temp,
            edge: LogEdge::new(),
            states: BTreeMap::new(),
            now_us: START_US + 60_000_000,
        }
    }

    /// Three streams in two runs, more than a bundle of entries; the checkpoint of the first is kept in `kept`.
    pub(crate) fn three_streams() -> (Self, Vec<Written>) {
        let mut sealed = Self::new();
        let whole: Vec<Written> = (1..4).map(|id| stream(id, 150, "subject")).collect();
        let mut early = whole.clone();
        for stream in &mut early {
            stream.records.truncate(40);
        }
        sealed.seal(&early);
        fs::copy(sealed.log(CHECKPOINT_PATH), sealed.path("kept")).unwrap();
        sealed.seal(&whole);
        (sealed, whole)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn log(&self, path: &str) -> PathBuf {
        self.temp.path().join("log").join(path)
    }

    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// A run of the sealer, a minute after the one before.
    pub(crate) fn seal(&mut self, streams: &[Written]) {
        let trusted = [(REGISTRAR_ID.to_owned(), public(&registrar()))];
        let rules = SealRules {
            commands_only: &[],
            trusted: &trusted,
            idle_after_us: u64::MAX / 2,
            max_leaves: 100_000,
        };
        let mut sorted: Vec<&Written> = streams.iter().collect();
        sorted.sort_by_key(|stream| stream.id());
        let pages = sorted
            .into_iter()
            .map(|stream| {
                let known = self.states.get(&stream.id()).cloned();
                let from = known.as_ref().map_or(0, |known| known.next_seq);
                let mut records = stream.records.clone();
                records.retain(|record| record.seq >= from);
                StreamPage {
                    stream: stream.id(),
                    known,
                    registration: Some(stream.registration.clone()),
                    records,
                }
            })
            .collect();
        let plan = plan_seal(ORIGIN, self.edge.clone(), pages, &rules, self.now_us).unwrap();
        self.edge = plan.edge.clone();
        let note = sign(plan.text());
        let staged = plan.stage(note).unwrap();
        for (tile, bytes) in &staged.tiles {
            let path = self.log(&tile.to_string());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        for state in &staged.streams {
            self.states.insert(state.stream, state.clone());
        }
        fs::write(self.log(CHECKPOINT_PATH), staged.note.to_string()).unwrap();
        self.now_us += 60_000_000;
    }
}

/// A note that the log's key signed.
pub(crate) fn sign(text: &str) -> SignedNote {
    let mut note = SignedNote::new(text.to_owned()).unwrap();
    let signature = SigningKey::from_bytes(&[7; 32]).sign(text.as_bytes());
    note.add(&verifier(7), signature.to_bytes().to_vec())
        .unwrap();
    note
}

/// Copies a folder into another that is not there yet.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
