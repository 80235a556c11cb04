//! `sealcast release`: which models serve together.

use std::path::Path;

use artifact::ModelName;
use clap::{Args, Subcommand};
use domain::ports::{Alias, ReleaseReader as _};
use domain::{PrincipalId, Release, ReleaseId, ReleaseRole};
use serde_json::json;
use store_embedded::{FileArtifacts, FileReleases, LocalKeys};

use crate::arguments::{DataDir, ModelLabel};
use crate::commands::wait;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::releases::{self, Stores};

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    Create(CreateArguments),
    Show(ShowArguments),
    Activate(ActivateArguments),
}

/// Create the next release from models in the store.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    data: DataDir,
    /// A model that answers for its name; repeatable.
    #[arg(long, value_name = "NAME@VERSION", required = true, value_parser = ModelLabel::parse)]
    live: Vec<ModelLabel>,
    /// A model that answers in the place of a live one that fails; repeatable.
    #[arg(long, value_name = "NAME@VERSION=FOR-NAME", value_parser = parse_fallback)]
    fallback: Vec<FallbackModel>,
    /// Who creates the release.
    #[arg(long, value_name = "WHO", value_parser = parse_principal)]
    created_by: PrincipalId,
}

/// Show a release; without an id, the one that is live.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The release, for example r-000001.
    #[arg(value_parser = parse_id)]
    id: Option<ReleaseId>,
    #[command(flatten)]
    data: DataDir,
}

/// Point the alias `live`, which the server follows, to a release.
#[derive(Debug, Args)]
pub(crate) struct ActivateArguments {
    /// The release, for example r-000001.
    #[arg(value_parser = parse_id)]
    id: ReleaseId,
    #[command(flatten)]
    data: DataDir,
    /// Only where the alias still has this revision (0: was never set).
    #[arg(long, value_name = "N")]
    expected_revision: Option<u64>,
}

/// A fallback model and the name that it stands in for.
#[derive(Debug, Clone)]
struct FallbackModel {
    label: ModelLabel,
    stands_in_for: ModelName,
}

fn parse_fallback(text: &str) -> Result<FallbackModel, String> {
    let (label, name) = text.split_once('=').ok_or_else(|| {
        "expected NAME@VERSION=FOR-NAME, for example spx-direction-mlp@1.0.0=spx-direction"
            .to_owned()
    })?;
    Ok(FallbackModel {
        label: ModelLabel::parse(label)?,
        stands_in_for: ModelName::parse(name).map_err(|error| error.to_string())?,
    })
}

fn parse_principal(text: &str) -> Result<PrincipalId, String> {
    PrincipalId::parse(text).map_err(|error| error.to_string())
}

fn parse_id(text: &str) -> Result<ReleaseId, String> {
    ReleaseId::parse(text).map_err(|error| error.to_string())
}

/// Runs one of the release commands.
pub(crate) fn run(command: &ReleaseCommand) -> Result<Report, Failure> {
    match command {
        ReleaseCommand::Create(arguments) => create(arguments),
        ReleaseCommand::Show(arguments) => show(arguments),
        ReleaseCommand::Activate(arguments) => activate(arguments),
    }
}

fn open_stores(data: &Path) -> Result<Stores, Failure> {
    Ok(Stores {
        keys: LocalKeys::open(&data.join("keys"))?,
        artifacts: FileArtifacts::open(data)?,
        releases: FileReleases::open(data)?,
    })
}

fn create(arguments: &CreateArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let stores = open_stores(&arguments.data.path)?;
    let live = arguments
        .live
        .iter()
        .map(|label| (ReleaseRole::Live, label.clone()));
    let fallback = arguments.fallback.iter().map(|model| {
        let role = ReleaseRole::FallbackFor(model.stands_in_for.clone());
        (role, model.label.clone())
    });
    let models = live.chain(fallback).collect();
    let created_by = arguments.created_by.clone();
    let release = wait(releases::create_release(&stores, models, created_by))??;
    Report::new(&json!({ "release": release }), describe(&release))
}

fn show(arguments: &ShowArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let store = FileReleases::open(&arguments.data.path)?;
    let (release, live, newest) = wait(async {
        let live = releases::find_live(&store).await?;
        let newest = store.newest().await?;
        let id = match (arguments.id, &live) {
            (Some(id), _) => id,
            (None, Some(alias)) => alias.release,
            (None, None) => {
                let message = "no release is live yet; `sealcast release activate` sets one";
                return Err(Failure::not_found("release.none_live", message));
            }
        };
        let release = releases::find_release(&store, id).await?;
        Ok((release, live, newest))
    })??;
    let text = describe(&release)
        .optional("live", live.as_ref().map(describe_alias))
        .optional("newest", newest);
    Report::new(
        &json!({ "release": release, "live": live, "newest": newest }),
        text,
    )
}

fn activate(arguments: &ActivateArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let stores = open_stores(&arguments.data.path)?;
    let expected = arguments.expected_revision;
    let (release, live) = wait(releases::activate_release(&stores, arguments.id, expected))??;
    let text = describe(&release).field("live", describe_alias(&live));
    Report::new(&json!({ "release": release, "live": live }), text)
}

fn describe_alias(alias: &Alias) -> String {
    format!("{} (revision {})", alias.release, alias.revision)
}

fn describe(release: &Release) -> Text {
    let models: Vec<Vec<String>> = release
        .models
        .iter()
        .map(|model| {
            let role = match &model.role {
                ReleaseRole::Live => "live".to_owned(),
                ReleaseRole::FallbackFor(name) => format!("fallback for {name}"),
            };
            vec![model.label(), role, model.digest.to_string()]
        })
        .collect();
    Text::new()
        .field("release", release.id)
        .field("created by", &release.created_by)
        .field("created at", &release.created_at)
        .table("models", &models)
}
