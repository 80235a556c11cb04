//! The embedded root: every port on files and redb in one directory.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use audit::EventBody;
use audit::event::{ProcessStarted, ProcessStopped};
use audit_seal::Spill;
use axum::middleware::from_fn_with_state;
use domain::ports::Clock;
use domain::spill::{ReplayPorts, SpilledLines};
use domain::system::{SystemClock, SystemEntropy};
use domain::{AuditMode, Recorder};
use engine::LoadLimits;
use predict::{LoadSlot, Loader, Predict};
use store_embedded::{EmbeddedStore, FileSpill, MemoryHeartbeats};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use web::Edge;

use crate::config::Config;
use crate::seal::Sealing;
use crate::tokens::{Tokens, authenticate};
use crate::{follow, health, listen, questions, seal};

/// How often answers that are too old to be given again are deleted.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);

/// Longest time that loading one model may take.
const LOAD_TIME_LIMIT: Duration = Duration::from_mins(2);

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let store = EmbeddedStore::open(&config.data)?;
    let tokens = Arc::new(Tokens::open(&config.data.join("tokens.json"))?);
    let listener = TcpListener::bind(config.addr)
        .await
        .with_context(|| format!("SEALCAST_ADDR: cannot listen on {}", config.addr))?;
    let addr = listener.local_addr()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spill = Arc::new(FileSpill::open(&config.spill)?);
    let mut recorder = Recorder::new(
        format!("server/{}", std::process::id()),
        store.audit_appender(),
        store.stream_signer(),
        Arc::clone(&clock),
        Arc::new(SystemEntropy),
    );
    if config.audit_mode == AuditMode::Available {
        let last_resort = Arc::new(SpilledLines::new(std::io::stderr()));
        recorder = recorder.with_spill(spill.clone(), last_resort);
    }
    let recorder = Arc::new(recorder);
    let mut settings = config.as_settings();
    settings.insert("tokens.json".to_owned(), tokens.summary());
    let started = ProcessStarted {
        software: format!("sealcast server {}", env!("CARGO_PKG_VERSION")),
        settings,
    };
    recorder.record(EventBody::ProcessStarted(started)).await?;
    let spilled = Spill {
        ports: ReplayPorts {
            reader: spill.clone(),
            remover: spill.clone(),
            restorer: store.audit_restorer(),
            log: store.audit_reader(),
            clock: Arc::clone(&clock),
        },
        recorder: Arc::clone(&recorder),
    };
    let sealer = seal::open(&store, &config.seal, Arc::clone(&clock))?.with_spill(spilled);
    let loader = Loader {
        artifacts: store.artifact_reader(),
        releases: store.release_reader(),
        unwrapper: store.key_unwrapper(),
        trusted: store.keys().trusted_model_keys(),
        limits: LoadLimits::default(),
        time_limit: LOAD_TIME_LIMIT,
        slot: LoadSlot::default(),
        recorder: Arc::clone(&recorder),
        clock: Arc::clone(&clock),
    };
    let claims = store.request_claims();
    let predict = Arc::new(Predict::new(
        loader,
        claims,
        Arc::clone(&recorder),
        Arc::clone(&clock),
    ));
    let heartbeats = Arc::new(MemoryHeartbeats::default());
    let health = health::open(
        &store,
        heartbeats.clone(),
        spill,
        Arc::clone(&recorder),
        Arc::clone(&clock),
    );
    let questions = questions::open(
        &store,
        &config.seal.origin,
        Arc::clone(&recorder),
        Arc::clone(&clock),
    )?;
    let routes = predict::router(Arc::clone(&predict))
        .merge(::health::router(health))
        .merge(audit_query::router(questions));
    let routes = Edge::new(Arc::clone(&recorder))
        .surround(routes)
        .layer(from_fn_with_state(Arc::clone(&tokens), authenticate));
    let background = [
        tokio::spawn(health::beat(
            Arc::clone(&predict),
            heartbeats,
            Arc::clone(&recorder),
            Arc::clone(&clock),
        )),
        tokio::spawn(follow::follow_alias(predict, store.alias_reader())),
        tokio::spawn(follow::follow_tokens(tokens, Arc::clone(&recorder))),
        tokio::spawn(purge(store.claims().clone(), clock)),
    ];
    let sealing = Sealing::start(sealer, config.seal_interval)?;
    tracing::info!(server.addr = %addr, "the server listens");
    listen::serve(listener, routes, stop).await;
    background.iter().for_each(tokio::task::JoinHandle::abort);
    let stopped = ProcessStopped {
        reason: "asked to stop".to_owned(),
    };
    recorder.record(EventBody::ProcessStopped(stopped)).await?;
    sealing.finish().await;
    tracing::info!("the server stopped");
    tokio::task::spawn_blocking(move || store.close()).await?;
    Ok(())
}

/// Ready at SIGTERM or SIGINT. SIGHUP is taken and passed over: a closed terminal stops nothing.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => {}
            }
        }
    })
}

async fn purge(claims: Arc<store_embedded::RedbClaims>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(PURGE_INTERVAL).await;
        if let Err(error) = claims.purge_expired(clock.now_us()).await {
            tracing::error!(error = %error, "old answers were not deleted");
        }
    }
}
