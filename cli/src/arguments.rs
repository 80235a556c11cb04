//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use artifact::{ModelName, ModelVersion};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    audit::AuditCommand, inspect::InspectArguments, key::KeyCommand, keygen::KeygenArguments,
    manifest::ManifestCommand, predict::PredictArguments, push::PushArguments,
    release::ReleaseCommand, score::ScoreArguments, seal::SealArguments, token::TokenCommand,
    verify::VerifyArguments,
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
    /// Public keys, for whoever verifies.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Bearer tokens of the local server.
    #[command(subcommand)]
    Token(TokenCommand),
    Seal(SealArguments),
    Push(PushArguments),
    Verify(VerifyArguments),
    /// Create, show and activate releases.
    #[command(subcommand)]
    Release(ReleaseCommand),
    Predict(PredictArguments),
    /// Ask for, prove and verify what was recorded: streams, and the sealed log.
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
    /// Refuses a data directory that is not there.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        check_data_dir(&self.path)
    }
}

/// Refuses a data directory that is not there: a misspelt name must not become a new, empty store.
pub(crate) fn check_data_dir(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let message = format!(
        "data directory {}: no such directory; `sealcast keygen` makes one",
        path.display()
    );
    Err(Failure::not_found("store.not_found", message).at("--data"))
}

/// Which store a command works on: a local one, or that of a deployed stack.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    // What the command line says counts before both variables of the environment: clap cannot tell that.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "stack",
        help = "The data directory [env: SEALCAST_DATA] [default: .sealcast]"
    )]
    data: Option<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        help = "The file that names a deployed stack's stores, as `make deploy` writes it [env: SEALCAST_STACK]"
    )]
    stack: Option<PathBuf>,
}

/// Where the stores are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorePlace {
    /// In this data directory.
    Data(PathBuf),
    /// In the stack that this file describes.
    Stack(PathBuf),
}

impl StoreArguments {
    /// What the options say, else the environment, else the default.
    pub(crate) fn place(&self) -> Result<StorePlace, Failure> {
        self.choose(|name| std::env::var_os(name))
    }

    fn choose(&self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<StorePlace, Failure> {
        let find = |name: &str| {
            let value = lookup(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        match (&self.data, &self.stack) {
            (_, Some(stack)) => return Ok(StorePlace::Stack(stack.clone())),
            (Some(data), None) => return Ok(StorePlace::Data(data.clone())),
            (None, None) => {}
        }
        match (find("SEALCAST_DATA"), find("SEALCAST_STACK")) {
            (Some(_), Some(_)) => {
                let message = "the environment names two stores, SEALCAST_DATA and SEALCAST_STACK: \
                    unset one, or give --data or --stack";
                Err(Failure::usage("SEALCAST_STACK", message))
            }
            (None, Some(stack)) => Ok(StorePlace::Stack(stack)),
            (Some(data), None) => Ok(StorePlace::Data(data)),
            (None, None) => Ok(StorePlace::Data(PathBuf::from(".sealcast"))),
        }
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
    fn the_command_line_counts_before_the_environment_and_two_stores_are_refused() {
        let choose = |data: Option<&str>, stack: Option<&str>, environment: &[(&str, &str)]| {
            let arguments = StoreArguments {
                data: data.map(PathBuf::from),
                stack: stack.map(PathBuf::from),
            };
            let found = |name: &str| environment.iter().find(|entry| entry.0 == name);
            arguments.choose(|name| found(name).map(|entry| entry.1.into()))
        };
        let local = |path: &str| Ok(StorePlace::Data(path.into()));
        let stack = |path: &str| Ok(StorePlace::Stack(path.into()));
        let (d, s) = (("SEALCAST_DATA", "d"), ("SEALCAST_STACK", "s"));
        assert_eq!(choose(None, None, &[]), local(".sealcast"));
        assert_eq!(choose(None, None, &[d]), local("d"));
        assert_eq!(choose(None, None, &[s]), stack("s"));
        assert_eq!(choose(None, None, &[s, ("SEALCAST_DATA", "")]), stack("s"));
        assert_eq!(choose(Some("x"), None, &[d, s]), local("x"));
        assert_eq!(choose(None, Some("x"), &[d, s]), stack("x"));
        let refused = choose(None, None, &[d, s]).unwrap_err();
        assert_eq!(refused.exit, crate::failure::Exit::Usage);
        let both = [
            "sealcast", "audit", "streams", "--data", "d", "--stack", "s",
        ];
        let refused = describe_usage(&Arguments::try_parse_from(both).unwrap_err());
        assert_eq!(refused.exit, crate::failure::Exit::Usage);
        assert!(refused.message.contains("--stack <FILE>"), "{refused:?}");
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
