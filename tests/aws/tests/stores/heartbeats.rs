//! Heartbeats of several environments of one version.

use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect_tables;
use aws_tests::tables;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};
use testkit::build::{fresh_name, release_id};

const MINUTE_US: u64 = 60_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_serves_speaks_for_its_version() {
    let table = tables::create_requests(DynamodbLocal).await;
    let heartbeats = connect_tables(DynamodbLocal).await.heartbeats(&table);
    let version = fresh_name("v").to_string();
    let serves = |at_us| Heartbeat {
        version: version.clone(),
        at_us,
        release: Some(release_id(1)),
        reason: None,
        newest_event_us: None,
    };
    let fails = |at_us| Heartbeat {
        release: None,
        reason: Some("key.unavailable".to_owned()),
        ..serves(at_us)
    };
    let now = 1_767_225_600_000_000;
    for (said, kept) in [
        (fails(now), fails(now)),
        (serves(now + 1), serves(now + 1)),
        (fails(now + MINUTE_US), serves(now + 1)),
        (fails(now + 3 * MINUTE_US), fails(now + 3 * MINUTE_US)),
        (fails(now + 4 * MINUTE_US), fails(now + 4 * MINUTE_US)),
        (serves(now + 2 * MINUTE_US), fails(now + 4 * MINUTE_US)),
        (serves(now + 5 * MINUTE_US), serves(now + 5 * MINUTE_US)),
    ] {
        assert_eq!(heartbeats.beat(&said).await, Ok(()));
        assert_eq!(heartbeats.newest(&version).await, Ok(Some(kept)));
    }
}
