//! The audit streams on disk, read as an auditor would: from the files, with the trusted key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use audit::{EventBody, PublicKey, StreamVerifier, export};

use crate::clients::{Answer, group_by_receipt};
use crate::data_dir::DataDir;

pub(crate) struct Streams {
    dir: PathBuf,
    trusted: Vec<(String, PublicKey)>,
    verified: HashSet<PathBuf>,
    /// Request id of each prediction that answered, by `STREAM:SEQ:HASH`.
    predictions: HashMap<String, String>,
    events: BTreeMap<String, u64>,
    closed: usize,
    /// Answers that are known to be written.
    written: usize,
}

impl Streams {
    pub(crate) fn new(data: &DataDir) -> Self {
        Self {
            dir: data.path().join("audit"),
            trusted: data.trusted_stream_keys(),
            verified: HashSet::new(),
            predictions: HashMap::new(),
            events: BTreeMap::new(),
            closed: 0,
            written: 0,
        }
    }

    /// Verifies every stream whose process is gone and that was not verified before; the process `alive` still
    /// writes its own.
    pub(crate) fn verify_new(&mut self, alive: u32) {
        for path in self.list() {
            let bytes = fs::read(&path).unwrap();
            let registration =
                export::parse_registration_line(bytes.split(|b| *b == b'\n').next().unwrap());
            let host = registration.map(|signed| String::from_utf8(signed.registration).unwrap());
            if host.is_ok_and(|host| host.contains(&format!("\"server/{alive}\""))) {
                continue;
            }
            self.verify(&path, &bytes);
            self.verified.insert(path);
        }
    }

    fn verify(&mut self, path: &Path, bytes: &[u8]) {
        let place = path.display();
        let Some(bytes) = bytes.strip_suffix(b"\n") else {
            panic!("{place}: the last line is torn after a restart");
        };
        let mut lines = bytes.split(|b| *b == b'\n');
        let registration = export::parse_registration_line(lines.next().unwrap())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut verifier = StreamVerifier::new(&registration, &self.trusted)
            .unwrap_or_else(|fault| panic!("{place}: {fault}"));
        for (number, line) in lines.enumerate() {
            let record = export::parse_record_line(line)
                .unwrap_or_else(|error| panic!("{place}: event {number}: {error}"));
            let event = verifier
                .check(&record)
                .unwrap_or_else(|fault| panic!("{place}: {fault}"));
            if let EventBody::Prediction(prediction) = event.body
                && prediction.part == prediction.parts
            {
                let receipt = record.receipt();
                let receipt = format!("{}:{}:{}", receipt.stream, receipt.seq, receipt.leaf_hash);
                self.predictions.insert(receipt, prediction.request_id);
            }
        }
        let stream = path.file_stem().unwrap().to_str().unwrap().to_owned();
        self.events.insert(stream, verifier.report().events);
        self.closed += usize::from(verifier.report().closed);
    }

    /// Checks that every answer's record is in a whole line, with the hash that the client was told.
    pub(crate) fn check_written(&mut self, answers: &[Answer]) {
        let new = &answers[self.written..];
        let mut by_stream: HashMap<&str, Vec<(usize, &str)>> = HashMap::new();
        for answer in new {
            let mut parts = answer.receipt.split(':');
            let (stream, seq, hash) = (
                parts.next().unwrap(),
                parts.next().unwrap(),
                parts.next().unwrap(),
            );
            by_stream
                .entry(stream)
                .or_default()
                .push((seq.parse().unwrap(), hash));
        }
        for (stream, receipts) in by_stream {
            let bytes = fs::read(self.dir.join(format!("{stream}.jsonl"))).unwrap();
            let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
            // What follows the last line feed: nothing, or a line that the kill tore.
            lines.pop();
            for (seq, hash) in receipts {
                let Some(line) = lines.get(seq + 1) else {
                    panic!("{stream}: event {seq} was answered and is not written");
                };
                let receipt = export::parse_record_line(line).unwrap().receipt();
                assert_eq!(
                    (receipt.seq, receipt.leaf_hash.to_string().as_str()),
                    (seq as u64, hash),
                    "{stream}"
                );
            }
        }
        self.written = answers.len();
    }

    /// Checks that every answer stands in a verified stream, as a prediction for its request and no other.
    pub(crate) fn check_recorded(&self, answers: &[Answer]) {
        for (receipt, answers) in group_by_receipt(answers) {
            let recorded = self.predictions.get(receipt);
            for answer in answers {
                assert_eq!(recorded, Some(&answer.request_id), "{receipt}");
            }
        }
    }

    fn list(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_stream = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        };
        entries
            .filter(|path| is_stream(path) && !self.verified.contains(path))
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.verified.len()
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.values().sum()
    }

    /// The events of each stream that was verified, by its id.
    pub(crate) fn events_by_stream(&self) -> BTreeMap<String, u64> {
        self.events.clone()
    }

    pub(crate) fn closed(&self) -> usize {
        self.closed
    }
}
