//! The staged record: a run that died goes on from it alone.

use audit::checkpoint::Checkpoint;
use audit::note::SignedNote;
use audit::seal::{ParseStageError, StageError, StagedSeal, Step};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{Log, sign, written};

fn staged() -> (Log, StagedSeal) {
    let mut log = Log::new();
    log.seal(&[written(1, 250)]);
    let plan = log.plan(&[written(1, 300), written(2, 20)], 1000);
    let note = sign(plan.text());
    (log, plan.stage(note).unwrap())
}

#[test]
fn a_staged_record_reads_back_as_it_was_written() {
    let (_, staged) = staged();
    let bytes = staged.to_bytes().unwrap();
    assert!(bytes.starts_with(b"sealcast.stage/v1\n"));
    assert_eq!(StagedSeal::parse(&bytes), Ok(staged));
}

#[test]
fn the_lock_says_how_a_run_that_died_goes_on() {
    let (mut log, staged) = staged();
    assert_eq!(staged.next_step(&log.checkpoint()), Step::Swap);
    assert_eq!(staged.next_step(&staged.newer), Step::Write);
    let other = Checkpoint {
        root: [1; 32],
        ..staged.newer.clone()
    };
    assert_eq!(staged.next_step(&other), Step::Drop);
    // Dying between any two writes of tiles changes nothing: the same bytes are written again.
    let replayed = StagedSeal::parse(&staged.to_bytes().unwrap()).unwrap();
    let mut partly = staged.clone();
    partly.tiles.pop_last();
    partly.ranges.clear();
    partly.streams.clear();
    log.write(&partly);
    log.write(&replayed);
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(staged.next_step(&log.checkpoint()), Step::Write);
}

#[test]
fn only_the_plan_s_own_signed_checkpoint_is_staged() {
    let log = Log::new();
    let plan = log.plan(&[written(1, 3)], 100);
    let other = sign(
        &Checkpoint {
            size: 6,
            ..plan.newer.clone()
        }
        .to_string(),
    );
    assert_eq!(plan.clone().stage(other), Err(StageError::OtherText));
    let unsigned: SignedNote = plan.unsigned();
    assert_eq!(plan.stage(unsigned), Err(StageError::Unsigned));
}

#[test]
fn records_that_are_not_whole_or_do_not_fit_are_refused() {
    let (_, staged) = staged();
    let bytes = staged.to_bytes().unwrap();
    assert_eq!(
        StagedSeal::parse(b"sealcast.stage/v2\n"),
        Err(ParseStageError::Version)
    );
    assert_eq!(
        StagedSeal::parse(&bytes[..bytes.len() - 1]),
        Err(ParseStageError::Checksum)
    );
    assert_eq!(
        StagedSeal::parse(&bytes[..20]),
        Err(ParseStageError::Checksum)
    );
    let again = |change: &dyn Fn(&mut StagedSeal)| {
        let mut changed = staged.clone();
        change(&mut changed);
        StagedSeal::parse(&changed.to_bytes().unwrap())
    };
    assert!(matches!(
        again(&|s| {
            s.tiles.pop_first();
        }),
        Err(ParseStageError::Head(_))
    ));
    // A checkpoint that claims more leaves than any tiles can hold.
    let huge = Checkpoint {
        size: u64::MAX,
        ..staged.newer.clone()
    };
    assert!(matches!(
        again(&|s| s.note = sign(&huge.to_string())),
        Err(ParseStageError::Head(_))
    ));
    assert!(matches!(
        again(&|s| s.older.size = 10_000),
        Err(ParseStageError::Head(_))
    ));
    let mut long = bytes[..bytes.len() - 32].to_vec();
    long.push(0);
    let checksum = Sha256::digest(&long);
    long.extend_from_slice(&checksum);
    assert!(matches!(
        StagedSeal::parse(&long),
        Err(ParseStageError::Head(_))
    ));
}

#[test]
fn every_state_names_the_tree_of_its_run_and_another_is_refused() {
    let (_, staged) = staged();
    let size = staged.newer.size;
    assert_eq!(staged.streams.len(), 2);
    assert!(staged.streams.iter().all(|state| state.tree_size == size));
    let mut older = staged.clone();
    older.streams[1].tree_size = size - 1;
    let stream = older.streams[1].stream;
    assert_eq!(
        StagedSeal::parse(&older.to_bytes().unwrap()),
        Err(ParseStageError::Head(format!(
            "the state of stream {stream} is of a tree of {} leaves, expected {size}",
            size - 1
        )))
    );
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(StagedSeal::parse(&bytes).is_err());
        let mut record = [b"sealcast.stage/v1\n".as_slice(), &bytes].concat();
        prop_assert!(StagedSeal::parse(&record).is_err());
        let checksum = Sha256::digest(&record);
        record.extend_from_slice(&checksum);
        prop_assert!(StagedSeal::parse(&record).is_err());
    }
}
