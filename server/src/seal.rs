//! Seals the streams of the data directory while the server runs.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use audit::note::{KeyName, VerifierKey};
use audit_seal::{Ports, Rules, SealSettings, Sealer, StreamKeys};
use domain::ports::Clock;
use store_embedded::EmbeddedStore;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest time that the server seals after it was told to stop.
const LAST_RUN: Duration = Duration::from_secs(10);

/// A sealer over the data directory.
pub(crate) fn open(
    store: &EmbeddedStore,
    settings: &SealSettings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Sealer> {
    let keys = store.keys();
    let signer = keys.log_signer().context("the log has no signing key")?;
    let ports = Ports::of_stores(
        store.audit_reader(),
        store.log(),
        store.log(),
        store.seal_index(),
        signer,
        clock,
    );
    let rules = Rules {
        earlier_keys: earlier_keys(store, &settings.origin)?,
        heartbeat_us: settings.heartbeat_s * 1_000_000,
        idle_after_us: settings.idle_after_s * 1_000_000,
        ..Rules::of(
            settings.origin.clone(),
            StreamKeys::Given(keys.trusted_stream_keys()),
        )
    };
    Ok(Sealer::new(ports, rules))
}

/// Keys that signed checkpoints before the log's own.
pub(crate) fn earlier_keys(
    store: &EmbeddedStore,
    origin: &str,
) -> anyhow::Result<Vec<VerifierKey>> {
    let name = KeyName::parse(origin).context("SEALCAST_LOG_ORIGIN is no name")?;
    let keys = store.keys().earlier_log_keys();
    let keys = keys
        .iter()
        .map(|key| VerifierKey::ed25519(name.clone(), key));
    Ok(keys.collect::<Result<Vec<_>, _>>()?)
}

/// The thread that seals. Signatures are verified a page at a time, which would hold up requests on a thread of theirs.
pub(crate) struct Sealing {
    /// Until when the last events may be sealed, once somebody said to stop.
    stop: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

impl Sealing {
    /// Seals what is there, once an interval, until [`finish`](Self::finish). What fails is logged by the sealer, and tried
    /// again.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start(sealer: Sealer, interval: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("sealer".to_owned())
            .spawn(move || runtime.block_on(seal_until(stopped, &sealer, interval)))?;
        Ok(Self { stop, thread })
    }

    /// Seals the last events of a server that stops. What is left waits for the next start.
    pub(crate) async fn finish(self) {
        // Where the thread is gone there is nobody to tell.
        let _ = self.stop.send(Some(Instant::now() + LAST_RUN));
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!(
                "the sealer ended early: the last events are sealed after the next start"
            );
        }
    }
}

async fn seal_until(
    mut stop: watch::Receiver<Option<Instant>>,
    sealer: &Sealer,
    interval: Duration,
) {
    // A server that ends without a word is no reason to go on either.
    while stop.borrow().is_none() && stop.has_changed().is_ok() {
        let mut told = stop.clone();
        tokio::select! {
            _ = sealer.run(None) => {}
            () = async { tokio::time::sleep_until(stopped(&mut told).await).await } => break,
        }
        tokio::select! {
            _ = stopped(&mut stop) => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
    let until = stopped(&mut stop).await;
    let run = sealer.run(Some(until.into_std()));
    if tokio::time::timeout_at(until, run).await.is_err() {
        tracing::warn!("the last events are sealed after the next start");
    }
}

/// Waits until somebody says to stop; gives until when that must be done.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let told = stop.wait_for(Option::is_some).await.ok();
    told.and_then(|until| *until)
        .unwrap_or_else(|| Instant::now() + LAST_RUN)
}

#[cfg(test)]
mod tests {
    use domain::system::SystemClock;
    use testkit::{Fault, Faulty, TestSigner};

    use super::*;

    #[tokio::test]
    async fn a_sealer_that_hangs_keeps_a_server_that_stops_no_longer_than_it_was_told() {
        let data = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::create(data.path()).unwrap();
        let signer = Faulty::new(Arc::new(TestSigner::new(2)));
        signer.fail_always("Signer::sign", Fault::Delay(Duration::from_hours(1)));
        let ports = Ports::of_stores(
            store.audit_reader(),
            store.log(),
            store.log(),
            store.seal_index(),
            Arc::new(signer),
            Arc::new(SystemClock),
        );
        let keys = StreamKeys::Given(vec![TestSigner::new(1).trusted()]);
        let sealer = Sealer::new(ports, Rules::of("test".to_owned(), keys));
        let (stop, stopped) = watch::channel(None);
        let began = Instant::now();
        let sealing = seal_until(stopped, &sealer, Duration::from_millis(1));
        let telling = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.send(Some(Instant::now() + Duration::from_millis(200)))
                .unwrap();
        };
        let both = async { tokio::join!(sealing, telling) };
        tokio::time::timeout(LAST_RUN / 2, both).await.unwrap();
        assert!(
            began.elapsed() >= Duration::from_millis(290),
            "it had a run"
        );
    }
}
