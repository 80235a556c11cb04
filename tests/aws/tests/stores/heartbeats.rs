//! Heartbeats of several environments of one version.

use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect_tables;
use aws_tests::tables;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};
use testkit::build::{fresh_name, release_id};

const SECOND_US: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn environments_that_serve_and_that_do_not_are_heard_together() {
    let table = tables::create_requests(DynamodbLocal).await;
    let heartbeats = connect_tables(DynamodbLocal).await.heartbeats(&table);
    let version = fresh_name("v").to_string();
    let at = |second: u64| 1_767_225_600_000_000 + second * SECOND_US;
    let serves = |second| Heartbeat {
        version: version.clone(),
        at_us: at(second),
        release: Some(release_id(1)),
        reason: None,
        newest_event_us: None,
    };
    let reason = || Some("key.unavailable".to_owned());
    let fails = |second| Heartbeat {
        release: None,
        reason: reason(),
        ..serves(second)
    };
    let impaired = |second| Heartbeat {
        reason: reason(),
        ..serves(second)
    };
    for (said, heard) in [
        (fails(0), fails(0)),
        // It may be the same environment, or another one.
        (serves(1), impaired(1)),
        (serves(40), serves(40)),
        (fails(50), impaired(40)),
        // What comes late changes nothing.
        (fails(45), impaired(40)),
        (serves(39), impaired(40)),
        (serves(60), impaired(60)),
        (fails(170), impaired(60)),
        // Nobody has served for two minutes.
        (fails(181), fails(181)),
        (serves(190), impaired(190)),
        (serves(212), serves(212)),
    ] {
        assert_eq!(heartbeats.beat(&said).await, Ok(()));
        let found = heartbeats.newest(&version).await;
        assert_eq!(found, Ok(Some(heard)), "after {said:?}");
    }
}
