//! What the server says of itself, and what its health routes make of it.

use std::sync::Arc;
use std::time::Duration;

use domain::Recorder;
use domain::ports::{Clock, Heartbeat, HeartbeatReader, HeartbeatWriter, SpillReader};
use health::{Health, Limits, Needed, Ports, Versions};
use predict::Predict;
use store_embedded::{EmbeddedStore, SERVER_VERSION};

/// How often the server says how it fares.
const INTERVAL: Duration = Duration::from_secs(1);

/// For how long that is fresh, in microseconds: a server that said nothing for so long hangs.
const FRESH_US: u64 = 10_000_000;

/// Looks at the alias, at what the server says, and at the data directory.
pub(crate) fn open(
    store: &EmbeddedStore,
    heartbeats: Arc<dyn HeartbeatReader>,
    spill: Arc<dyn SpillReader>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
) -> Arc<Health> {
    let ports = Ports {
        routing: store.routing_reader(),
        heartbeats,
        releases: store.release_reader(),
        // Its own folders and files: what is missing there was taken away, and no other process goes on without it.
        dependencies: store
            .dependencies()
            .into_iter()
            .map(Needed::to_answer)
            .collect(),
        spill: Some(spill),
    };
    let limits = Limits {
        fresh_us: FRESH_US,
        ..Limits::default()
    };
    Arc::new(Health::new(
        ports,
        Versions::Following,
        limits,
        recorder,
        clock,
    ))
}

/// Says once a second what serves, and why nothing else does; never ends.
pub(crate) async fn beat(
    predict: Arc<Predict>,
    heartbeats: Arc<dyn HeartbeatWriter>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
) {
    loop {
        let heartbeat = Heartbeat {
            version: SERVER_VERSION.to_owned(),
            at_us: clock.now_us(),
            release: predict.serving().map(|serving| serving.release),
            reason: predict.not_ready().map(|reason| reason.code.to_owned()),
            newest_event_us: recorder.newest_event_us(),
        };
        if let Err(error) = heartbeats.beat(&heartbeat).await {
            tracing::warn!(error = %error, "a heartbeat was not written");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_document_describes_exactly_the_routes_of_every_function() {
        let document: serde_json::Value = serde_json::from_str(predict::routes::OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let methods = methods.as_object().unwrap().keys();
            for method in methods.filter(|key| *key != "parameters") {
                described.insert((method.as_str(), path.as_str()));
            }
        }
        let functions = [
            &predict::routes::ROUTES[..],
            &health::ROUTES[..],
            &audit_query::ROUTES[..],
        ]
        .concat();
        let routes: BTreeSet<_> = functions.iter().copied().collect();
        assert_eq!(
            routes.len(),
            functions.len(),
            "no two functions share a route"
        );
        assert_eq!(described, routes);
    }
}
