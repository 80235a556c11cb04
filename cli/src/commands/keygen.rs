//! `sealcast keygen`: the keys of a local store.

use artifact::PublicKey;
use clap::Args;
use serde_json::json;
use store_embedded::LocalKeys;

use crate::arguments::DataDir;
use crate::commands::wait;
use crate::failure::Failure;
use crate::output::{Report, Text};

/// Make the keys of a local store: for signing models, for registering audit streams, for signing the log's
/// checkpoints, and a master key.
#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    #[command(flatten)]
    data: DataDir,
}

/// Makes all keys or none; keys that exist are never overwritten.
pub(crate) fn run(arguments: &KeygenArguments) -> Result<Report, Failure> {
    let dir = arguments.data.path.join("keys");
    let keys = LocalKeys::create(&dir)?;
    let (model, stream) = (keys.model_signer(), keys.stream_signer());
    let model_public = dir.join("model-signing.pub.pem").display().to_string();
    let stream_public = dir
        .join("stream-registration.pub.pem")
        .display()
        .to_string();
    let log_public = dir.join("log-signing.pub.pem").display().to_string();
    let log_id = keys.log_signer().map(|log| log.key_id().to_owned());
    let log_id = log_id.unwrap_or_default();
    // Signatures name the key by this hint.
    let hint = wait(model.public_key_pem())??;
    let hint = PublicKey::from_pem(&hint)
        .map_err(|error| Failure::refused("store.malformed", error.to_string()))?
        .hint()
        .to_owned();
    let text = Text::new()
        .field("keys", dir.display())
        .field("model signing", format!("{hint}  {model_public}"))
        .field(
            "audit streams",
            format!("{}  {stream_public}", stream.key_id()),
        )
        .field("log checkpoints", format!("{log_id}  {log_public}"))
        .field("master key", keys.master_key_id());
    Report::new(
        &json!({
            "keys": dir.display().to_string(),
            "model_signing": { "key_id": model.key_id(), "hint": hint, "public_key": model_public },
            "stream_registration": { "key_id": stream.key_id(), "public_key": stream_public },
            "log_signing": { "key_id": log_id, "public_key": log_public },
            "master_key": { "key_id": keys.master_key_id() },
        }),
        text,
    )
}
