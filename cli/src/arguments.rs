//! The command line.

use std::path::PathBuf;

use artifact::{ModelName, ModelVersion};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    audit::AuditCommand, inspect::InspectArguments, keygen::KeygenArguments,
    manifest::ManifestCommand, predict::PredictArguments, push::PushArguments,
    release::ReleaseCommand, score::ScoreArguments, seal::SealArguments, token::TokenCommand,
};
use crate::failure::Failure;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  refused, or a verification failed
  2  wrong command line
  3  what was named is not there
  4  a store, a file or the network is unavailable: trying again may help
  5  a fault of this program";

/// Seals, releases, asks and audits ONNX models.
#[derive(Debug, Parser)]
#[command(name = "sealcast", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object on standard output, also for an error: {"error","code","field"?}.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(InspectArguments),
    /// Draft what a model is.
    #[command(subcommand)]
    Manifest(ManifestCommand),
    Score(ScoreArguments),
    Keygen(KeygenArguments),
    /// Bearer tokens of the local server.
    #[command(subcommand)]
    Token(TokenCommand),
    Seal(SealArguments),
    Push(PushArguments),
    /// Create, show and activate releases.
    #[command(subcommand)]
    Release(ReleaseCommand),
    Predict(PredictArguments),
    /// Export, verify and read audit streams.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// Where the local store is.
#[derive(Debug, Args)]
pub(crate) struct DataDir {
    /// The data directory.
    #[arg(
        long = "data",
        value_name = "DIR",
        env = "SEALCAST_DATA",
        default_value = ".sealcast"
    )]
    pub(crate) path: PathBuf,
}

impl DataDir {
    /// Refuses a data directory that is not there: a misspelt name must not become a new, empty store.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.path.is_dir() {
            return Ok(());
        }
        let message = format!(
            "data directory {}: no such directory; `sealcast keygen` makes one",
            self.path.display()
        );
        Err(Failure::not_found("store.not_found", message).at("--data"))
    }
}

/// `name@version` of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelLabel {
    pub(crate) name: ModelName,
    pub(crate) version: ModelVersion,
}

impl ModelLabel {
    /// Parses `name@version`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, version) = text
            .split_once('@')
            .ok_or_else(|| "expected NAME@VERSION, for example spx-direction@1.0.0".to_owned())?;
        Ok(Self {
            name: ModelName::parse(name).map_err(|error| error.to_string())?,
            version: ModelVersion::parse(version).map_err(|error| error.to_string())?,
        })
    }
}

impl std::fmt::Display for ModelLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The failure that a wrong command line is.
pub(crate) fn describe_usage(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    // The message is what stands before the usage: one line, or a line and the arguments that it lists.
    let message = rendered
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.clone(),
        Some(ContextValue::Strings(options)) => options.join(" "),
        _ => return Failure::usage("", message).without_place(),
    };
    Failure::usage(&option, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_label_is_a_name_and_a_version() {
        let label = ModelLabel::parse("spx-direction@1.0.0").unwrap();
        assert_eq!(label.to_string(), "spx-direction@1.0.0");
        for bad in ["spx", "spx@1", "SPX@1.0.0", "@1.0.0", "spx@"] {
            assert!(ModelLabel::parse(bad).is_err(), "{bad}");
        }
    }
}
