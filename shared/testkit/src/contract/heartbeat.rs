use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};

use crate::build::{fresh_name, release_id};
use crate::clock::FixedClock;

/// What [`HeartbeatReader`] and [`HeartbeatWriter`] promise, over versions of its own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn heartbeat_contract(reader: &dyn HeartbeatReader, writer: &dyn HeartbeatWriter) {
    let (version, other) = (fresh_name("v"), fresh_name("v"));
    let (version, other) = (version.as_str(), other.as_str());
    assert_eq!(
        reader.newest(version).await,
        Ok(None),
        "a version that never said anything"
    );
    let first = Heartbeat {
        version: version.to_owned(),
        at_us: FixedClock::default().0,
        release: None,
        reason: Some("model.not_ready".to_owned()),
        newest_event_us: None,
    };
    assert_eq!(writer.beat(&first).await, Ok(()));
    assert_eq!(reader.newest(version).await, Ok(Some(first.clone())));
    let second = Heartbeat {
        // Environments are heard together for half a minute.
        at_us: first.at_us + 60_000_000,
        release: Some(release_id(7)),
        reason: None,
        newest_event_us: Some(first.at_us),
        ..first.clone()
    };
    assert_eq!(writer.beat(&second).await, Ok(()));
    assert_eq!(
        reader.newest(version).await,
        Ok(Some(second.clone())),
        "it replaces what the version said before"
    );
    assert_eq!(
        writer.beat(&first).await,
        Ok(()),
        "what comes late is passed over"
    );
    assert_eq!(
        reader.newest(version).await,
        Ok(Some(second)),
        "and replaces nothing"
    );
    assert_eq!(
        reader.newest(other).await,
        Ok(None),
        "and nothing of another version"
    );
}
