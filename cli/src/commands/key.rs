//! `sealcast key`: public keys, for whoever verifies.

use std::fmt::Write as _;

use artifact::{PublicKey, TrustedKey};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::output::{self, Report};
use crate::stores::Stores;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Show(ShowArguments),
}

/// Print a public key: it is what verifying takes.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The key that signs models (P-256), the one that registers audit streams (Ed25519), the one that registers those
    /// of people's commands (Ed25519; a local store has one for both), or the one that signs the log's checkpoints
    /// (Ed25519), which is printed as a verifier key, NAME+ID+BASE64.
    #[arg(value_enum)]
    key: KeyName,
    #[command(flatten)]
    store: StoreArguments,
    /// The form: PEM, or an entry of the setting `SEALCAST_TRUSTED_KEYS` (model keys only).
    #[arg(long, value_enum, default_value = "pem")]
    form: KeyForm,
    /// The first moment at which the key is trusted, RFC 3339 in UTC; with --form trusted.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The last moment at which the key is trusted, RFC 3339 in UTC; with --form trusted.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The log's origin, which is its key's name; by default that of the stack, else `SEALCAST_LOG_ORIGIN`, else
    /// `sealcast.local`. With `log`.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyName {
    Model,
    Stream,
    OperatorStream,
    Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyForm {
    Pem,
    Trusted,
}

/// Runs the key command.
pub(crate) fn run(command: &KeyCommand) -> Result<Report, Failure> {
    let KeyCommand::Show(arguments) = command;
    check_usage(arguments)?;
    let stores = Stores::open(&arguments.store)?;
    if arguments.key == KeyName::Log {
        return show_log_key(&stores, arguments.origin.as_deref());
    }
    let keys = stores.keys()?;
    let (name, signer) = match arguments.key {
        KeyName::Model => ("model", keys.model_signer),
        KeyName::OperatorStream => {
            let signer = keys.operator_stream_signer.ok_or_else(|| {
                let message =
                    "the stack names no SEALCAST_OPERATOR_STREAM_KEY; `make deploy` writes it";
                Failure::not_found("audit.key_not_found", message)
            })?;
            ("operator-stream", signer)
        }
        KeyName::Stream | KeyName::Log => ("stream", keys.stream_signer),
    };
    let pem = stores.wait(signer.public_key_pem())?;
    let mut value = json!({ "key": name, "key_id": signer.key_id(), "public_key": pem });
    let mut text = pem.clone();
    if arguments.key == KeyName::Model {
        let key = PublicKey::from_pem(&pem)
            .map_err(|error| Failure::refused("artifact.public_key", error.to_string()))?;
        value["hint"] = key.hint().into();
        let trusted = write_trusted(key, arguments)?;
        value["trusted"] = trusted.clone().into();
        if arguments.form == KeyForm::Trusted {
            text = trusted + "\n";
        }
    }
    Ok(Report::document(output::to_json(&value)?, text))
}

fn show_log_key(stores: &Stores, origin: Option<&str>) -> Result<Report, Failure> {
    let keys = stores.wait(stores.trusted_log_keys(origin))?;
    let key = keys.first().ok_or_else(|| {
        let message =
            "the store has no key that signs the log's checkpoints: nothing seals its streams";
        Failure::not_found("audit.log_key_not_found", message)
    })?;
    let value = json!({
        "key": "log",
        "origin": key.name().as_str(),
        "key_id": hex::encode(key.id()),
        "verifier_key": key.to_string(),
    });
    Ok(Report::document(
        output::to_json(&value)?,
        format!("{key}\n"),
    ))
}

fn check_usage(arguments: &ShowArguments) -> Result<(), Failure> {
    if arguments.origin.is_some() && arguments.key != KeyName::Log {
        let message = "--origin: expected `key show log`: other keys have no origin";
        return Err(Failure::usage("--origin", message));
    }
    if arguments.form == KeyForm::Trusted && arguments.key != KeyName::Model {
        let message =
            "SEALCAST_TRUSTED_KEYS holds keys that sign models: expected `key show model`";
        return Err(Failure::usage("--form", message));
    }
    for (option, given) in [("--from", &arguments.from), ("--until", &arguments.until)] {
        let Some(time) = given else { continue };
        if arguments.form == KeyForm::Pem {
            let message = format!("{option}: PEM has no place for a time; expected --form trusted");
            return Err(Failure::usage(option, message));
        }
        if time.contains([',', ';']) {
            let message = format!("{option}: expected one time, for example 2026-01-31T00:00:00Z");
            return Err(Failure::usage(option, message));
        }
    }
    Ok(())
}

/// The key as an entry of the list, which is read again as its readers do.
fn write_trusted(key: PublicKey, arguments: &ShowArguments) -> Result<String, Failure> {
    let mut entry = TrustedKey::always(key).to_string();
    for (name, time) in [("from", &arguments.from), ("until", &arguments.until)] {
        if let Some(time) = time {
            // Writing to a string does not fail.
            let _ = write!(entry, ";{name}={time}");
        }
    }
    let read = TrustedKey::parse_list(&entry)
        .map_err(|error| Failure::usage("--from --until", error.expected))?;
    Ok(TrustedKey::write_list(&read))
}
