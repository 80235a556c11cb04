//! Putting back what a process could only write to its own log.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use domain::ports::{SpillReader as _, SpillWriter as _};
use domain::spill::{SpillItem, SpilledLines};
use serde_json::json;
use store_embedded::FileSpill;
use tempfile::tempdir;
use testkit::build::TestStream;

use crate::support::run_in;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A stream's registration and three records.
fn items() -> [SpillItem; 2] {
    let mut test = TestStream::fresh();
    [
        SpillItem::of_registration(&test.registration).unwrap(),
        SpillItem::of_records(test.records(3)).unwrap(),
    ]
}

/// What a process that writes the items to its log leaves there, among other lines.
fn log_of(items: &[SpillItem]) -> String {
    let output = Output::default();
    let lines = SpilledLines::new(output.clone());
    let mut log = "{\"level\":\"INFO\",\"message\":\"recorded\"}\n".to_owned();
    for item in items {
        wait(lines.put(item)).unwrap();
    }
    let spilled = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    for line in spilled.lines() {
        log.extend(["2026-11-22T10:00:00.000Z ", line, "\nplain text\n"]);
    }
    log
}

fn names(dir: &Path) -> Vec<String> {
    wait(FileSpill::open(dir).unwrap().list("", 100)).unwrap()
}

#[test]
fn every_item_of_a_log_is_in_the_spill_then_and_once() {
    let temp = tempdir().unwrap();
    std::fs::create_dir(temp.path().join("data")).unwrap();
    std::fs::write(temp.path().join("log"), log_of(&items())).unwrap();
    for _ in 0..2 {
        let run = run_in(
            temp.path(),
            "--json audit import-spill --data {}/data {}/log",
        );
        let report = run.ends_with(0).json();
        assert_eq!(
            (&report["items"], &report["events"]),
            (&json!(4), &json!(3))
        );
        assert_eq!(report["not_imported"], json!([]));
        let names = names(&temp.path().join("data/spill"));
        assert_eq!(names.len(), 4, "{names:?}");
    }
}

#[test]
fn a_damaged_line_is_named_and_the_others_are_imported() {
    let temp = tempdir().unwrap();
    std::fs::create_dir(temp.path().join("data")).unwrap();
    let log = log_of(&items());
    let damaged: Vec<&str> = log.lines().collect();
    let cut = &damaged[3][..damaged[3].len() - 40];
    let text = log.replace(damaged[3], cut);
    std::fs::write(temp.path().join("log"), text).unwrap();
    let run = run_in(
        temp.path(),
        "--json audit import-spill --data {}/data --spill {}/other {}/log",
    );
    let report = run.ends_with(1).json();
    assert_eq!(
        (&report["items"], &report["events"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(report["not_imported"][0]["line"], json!(4), "{report}");
    assert_eq!(names(&temp.path().join("other")).len(), 3);
}

#[test]
fn a_log_that_is_not_there_is_said_to_be_so() {
    let temp = tempdir().unwrap();
    std::fs::create_dir(temp.path().join("data")).unwrap();
    let run = run_in(
        temp.path(),
        "--json audit import-spill --data {}/data {}/log",
    );
    assert_eq!(run.ends_with(3).failure().1, "file.not_found");
}
