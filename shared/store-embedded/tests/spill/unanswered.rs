//! What a replay does while the spill does not answer.

use std::sync::Arc;

use artifact::Sha256Digest;
use domain::StoreError;
use domain::ports::{AuditAppender, SpillReader};
use domain::spill::{ReplayPorts, SpillItem, replay};
use testkit::build::TestStream;
use testkit::{Fault, Faulty};

use crate::support::{World, down};

const LIST: &str = "SpillReader::list";
const READ: &str = "SpillReader::read";

fn faulty(world: &World) -> (Arc<Faulty<dyn SpillReader>>, ReplayPorts) {
    let reader = Arc::new(Faulty::new(world.spill.clone() as Arc<dyn SpillReader>));
    let ports = ReplayPorts {
        reader: reader.clone(),
        ..world.ports()
    };
    (reader, ports)
}

#[tokio::test]
async fn a_spill_that_cannot_be_listed_is_said() {
    let world = World::new();
    let (reader, ports) = faulty(&world);
    reader.fail_always(LIST, down());
    let report = replay(&ports, 10, u64::MAX).await;
    assert!(matches!(report.unlisted, Some(StoreError::Unavailable(_))));
    assert_eq!((report.items, report.complete), (0, false));
}

#[tokio::test]
async fn what_was_done_before_a_later_page_could_not_be_listed_is_reported() {
    let world = World::new();
    // After wherever a run begins, as its first page.
    let mut test = TestStream::of([0xff; 16], "test");
    world.log.register(&test.registration).await.unwrap();
    let item = SpillItem::of_records(test.records(2)).unwrap();
    world
        .spill
        .plant(&item.name().to_string(), &item.to_bytes());
    world.spill.plant("readme.txt", b"not ours");
    let (reader, ports) = faulty(&world);
    reader.fail_nth(LIST, 2, down());
    let report = replay(&ports, 10, u64::MAX).await;
    reader.assert_all_took_place();
    assert!(report.unlisted.is_some() && !report.complete, "{report:?}");
    assert_eq!((report.items, report.events), (1, 2));
    assert_eq!(report.streams, [test.stream.id()].into());
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].subject, "readme.txt");
    let report = replay(&ports, 10, u64::MAX).await;
    assert!(report.unlisted.is_none() && report.complete, "{report:?}");
}

#[tokio::test]
async fn what_is_no_item_is_set_aside_once_it_was_read_and_marked_as_what_it_is() {
    let denied = Fault::Before(StoreError::Denied("no".to_owned()));
    for fault in [down(), Fault::After, denied] {
        let world = World::new();
        world.spill.plant("readme.txt", b"not ours");
        let (reader, ports) = faulty(&world);
        reader.fail_next(READ, fault);
        let report = replay(&ports, 10, u64::MAX).await;
        reader.assert_all_took_place();
        assert!(report.findings.is_empty() && report.complete, "{report:?}");
        assert_eq!(world.spill.names(), ["readme.txt"], "it waits");
        assert_eq!(replay(&ports, 10, u64::MAX).await.findings.len(), 1);
        let marked = format!("readme.txt.{}", Sha256Digest::of(b"not ours"));
        assert_eq!(world.spill.set_aside_names(), [marked]);
    }
}

#[tokio::test]
async fn what_is_no_item_and_never_can_be_read_is_set_aside_and_what_is_gone_is_not_found() {
    let corrupt = Fault::Before(StoreError::Corrupt("too long".to_owned()));
    let gone = Fault::Before(StoreError::NotFound("removed".to_owned()));
    for (fault, findings) in [(corrupt, 1), (gone, 0)] {
        let world = World::new();
        world.spill.plant("readme.txt", b"not ours");
        let (reader, ports) = faulty(&world);
        reader.fail_next(READ, fault);
        let report = replay(&ports, 10, u64::MAX).await;
        assert_eq!(report.findings.len(), findings);
        let marked = vec!["readme.txt.unread".to_owned(); findings];
        assert_eq!(world.spill.set_aside_names(), marked);
    }
}

#[tokio::test]
async fn what_cannot_be_read_costs_a_run_nothing_of_its_limit() {
    let world = World::new();
    for name in ["one.txt", "two.txt"] {
        world.spill.plant(name, b"not ours");
    }
    let (reader, ports) = faulty(&world);
    reader.fail_next(READ, down());
    let report = replay(&ports, 1, u64::MAX).await;
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].subject, "two.txt");
}
