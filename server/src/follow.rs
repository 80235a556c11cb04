//! Follows what operators change while the server runs: the alias `live` and the token file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::event::Security;
use domain::ports::AliasReader;
use domain::{Recorder, ReleaseId};
use predict::{BackOff, Predict};

use crate::tokens::Tokens;

/// The alias that says which release serves.
pub(crate) const LIVE: &str = "live";

/// How often the alias and the token file are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets the release that the alias points to serve, and every later one; never ends.
///
/// A release that does not load leaves the one before it serving, and is tried
/// again, less and less often, until it loads or the alias moves on.
pub(crate) async fn follow_alias(predict: Arc<Predict>, aliases: Arc<dyn AliasReader>) {
    let mut failed: Option<(ReleaseId, BackOff)> = None;
    loop {
        let mut pause = INTERVAL;
        match aliases.get(LIVE).await {
            Ok(Some(alias)) => {
                let serving = predict.serving().map(|serving| serving.release);
                if serving == Some(alias.release) {
                    failed = None;
                    predict.settle();
                } else if predict.activate(alias.release).await.is_ok() {
                    failed = None;
                } else {
                    let before = failed.filter(|(id, _)| *id == alias.release);
                    let mut back_off = before.map(|(_, back_off)| back_off).unwrap_or_default();
                    pause = back_off.failed(Instant::now());
                    failed = Some((alias.release, back_off));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(error = %error, "the alias cannot be read"),
        }
        wait_for_change(pause, failed.map(|(id, _)| id), &aliases).await;
    }
}

/// Waits; ends early where the alias moves away from a release that does not load.
async fn wait_for_change(
    pause: Duration,
    failed: Option<ReleaseId>,
    aliases: &Arc<dyn AliasReader>,
) {
    let mut waited = Duration::ZERO;
    while waited < pause {
        tokio::time::sleep(INTERVAL).await;
        waited += INTERVAL;
        let now = aliases
            .get(LIVE)
            .await
            .ok()
            .flatten()
            .map(|alias| alias.release);
        if failed.is_some() && now != failed {
            return;
        }
    }
}

/// Reads the token file again whenever it changes, and records who is let in from then on; never ends.
pub(crate) async fn follow_tokens(tokens: Arc<Tokens>, recorder: Arc<Recorder>) {
    let mut seen = tokens.opened();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = tokens.modified();
        if now == seen {
            continue;
        }
        seen = now;
        let (code, detail) = match tokens.reload() {
            Ok(()) => {
                tracing::info!("the token file was read again");
                ("auth.tokens_changed", tokens.summary())
            }
            Err(error) => {
                tracing::error!(error = %error, "the token file cannot be used: nobody is let in");
                ("auth.tokens_unusable", error.to_string())
            }
        };
        let event = Security {
            code: code.to_owned(),
            detail: detail.chars().take(1000).collect(),
            subject: "tokens.json".to_owned(),
        };
        // One that is not recorded is logged there.
        let _ = recorder.record_security(event).await;
    }
}
