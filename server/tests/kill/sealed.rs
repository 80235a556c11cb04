//! The sealed log on disk, verified from its files with the log's public key, as an auditor would.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use audit::PublicKey;
use audit::checkpoint::{Checkpoint, TrustedLog, check_growth};
use audit::tiles::TileId;
use audit::whole_log::verify_log;

use crate::data_dir::DataDir;

/// The log's name where nothing is set.
const ORIGIN: &str = "sealcast.local";

pub(crate) struct SealedLog {
    dir: PathBuf,
    trusted: TrustedLog,
    streams: Vec<(String, PublicKey)>,
    /// Every checkpoint that was seen, each grown from the one before.
    seen: Vec<Checkpoint>,
    /// Kills that left a run that was committed and not published, or staged and not committed.
    interrupted: usize,
}

impl SealedLog {
    pub(crate) fn new(data: &DataDir) -> Self {
        let pem = fs::read_to_string(data.path().join("keys/log-signing.pub.pem")).unwrap();
        let key = audit_seal::log_key(ORIGIN, &pem).unwrap();
        Self {
            dir: data.path().join("log"),
            trusted: TrustedLog::by_keys(ORIGIN, vec![key]),
            streams: data.trusted_stream_keys(),
            seen: Vec::new(),
            interrupted: 0,
        }
    }

    /// Looks at what is published; it must have grown from what was published when it was last looked at.
    pub(crate) fn look(&mut self) {
        let listing = fs::read_dir(self.dir.join("stage"));
        let is_left = listing.is_ok_and(|mut listing| listing.next().is_some());
        let read = |name| fs::read(self.dir.join(name)).ok();
        if is_left || read("committed") != read("checkpoint") {
            self.interrupted += 1;
        }
        let Some(note) = read("checkpoint") else {
            return;
        };
        let (found, _) = self.trusted.open(&note).unwrap();
        if let Some(last) = self.seen.last() {
            check_growth(last, &found, |tile| self.read_tile(tile)).unwrap();
        }
        self.seen.push(found);
    }

    /// Verifies the whole log, and that it holds every event of every stream, each once. `events` are the streams'
    /// events by their ids.
    pub(crate) fn verify(&mut self, events: &BTreeMap<String, u64>) {
        self.look();
        let newest = self.seen.last().unwrap();
        let mut reader = |tile: TileId| self.read_tile(tile);
        let report = verify_log(newest, &self.streams, &mut reader, &mut |_| {});
        assert!(report.is_complete(), "{:?}", report.faults);
        assert!(report.reported.is_empty(), "{:?}", report.reported);
        let sealed: BTreeMap<String, u64> = report
            .streams
            .iter()
            .map(|(stream, summary)| (stream.to_string(), summary.events))
            .collect();
        assert_eq!(&sealed, events, "every event is sealed, once");
        let left = fs::read_dir(self.dir.join("stage")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing staged is left behind");
    }

    fn read_tile(&self, tile: TileId) -> std::io::Result<Vec<u8>> {
        fs::read(self.dir.join(tile.to_string()))
    }

    /// Leaves of the log, checkpoints that were seen, and interrupted runs.
    pub(crate) fn summary(&self) -> (u64, usize, usize) {
        let size = self.seen.last().map_or(0, |newest| newest.size);
        (size, self.seen.len(), self.interrupted)
    }
}
