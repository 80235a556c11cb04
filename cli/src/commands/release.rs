//! `sealcast release`: which models serve together.

use artifact::ModelName;
use audit::event::ReleaseChange;
use clap::{Args, Subcommand};
use domain::ports::{Alias, Target};
use domain::{PrincipalId, Release, ReleaseId, ReleaseRole};
use serde_json::{Value, json};

use crate::arguments::{ModelLabel, StoreArguments};
use crate::failure::Failure;
use crate::output::{self, Report, Text};
use crate::record::{self, Done};
use crate::releases::{self, LIVE};
use crate::stores::Stores;

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
    store: StoreArguments,
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
    store: StoreArguments,
}

/// Point the alias `live`, which decides what serves, to a release.
#[derive(Debug, Args)]
pub(crate) struct ActivateArguments {
    /// The release, for example r-000001.
    #[arg(value_parser = parse_id)]
    id: ReleaseId,
    #[command(flatten)]
    store: StoreArguments,
    /// Who activates it.
    #[arg(long, value_name = "WHO", env = "USER", hide_env_values = true, value_parser = parse_principal)]
    activated_by: PrincipalId,
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

fn create(arguments: &CreateArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let live = arguments
        .live
        .iter()
        .map(|label| (ReleaseRole::Live, label.clone()));
    let fallback = arguments.fallback.iter().map(|model| {
        let role = ReleaseRole::FallbackFor(model.stands_in_for.clone());
        (role, model.label.clone())
    });
    let models: Vec<_> = live.chain(fallback).collect();
    let created_by = arguments.created_by.clone();
    let change = ReleaseChange {
        models: models.iter().map(record::intended_model).collect(),
        ..record::intended("create", &created_by)
    };
    let work = releases::create_release(&stores, models, created_by);
    let release = stores.wait(record::recorded(
        stores.recording(),
        change,
        work,
        |release| Done {
            release,
            revision: None,
        },
    ))?;
    Report::new(&json!({ "release": release }), describe(&release))
}

fn show(arguments: &ShowArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let store = stores.releases()?;
    let (release, live, targets, newest) = stores.wait(async {
        let live = store.alias_reader.get(LIVE).await?;
        let newest = store.reader.newest().await?;
        let targets = releases::find_targets(store.routing.as_deref()).await?;
        let id = match (arguments.id, &live) {
            (Some(id), _) => id,
            (None, Some(alias)) => alias.release,
            (None, None) => {
                let message = "no release is live yet; `sealcast release activate` sets one";
                return Err(Failure::not_found("release.none_live", message));
            }
        };
        let release = releases::find_release(store.reader.as_ref(), id).await?;
        Ok::<_, Failure>((release, live, targets, newest))
    })?;
    let text = describe(&release)
        .optional("live", live.as_ref().map(describe_alias))
        .optional("versions", describe_targets(&targets))
        .optional("newest", newest);
    let mut value = json!({ "release": release, "live": live, "newest": newest });
    add_targets(&mut value, &targets);
    Report::new(&value, text)
}

fn activate(arguments: &ActivateArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let expected = arguments.expected_revision;
    let change = ReleaseChange {
        release: Some(arguments.id.to_string()),
        ..record::intended("activate", &arguments.activated_by)
    };
    let work = releases::activate_release(&stores, arguments.id, expected);
    let activated = stores.wait(record::recorded(
        stores.recording(),
        change,
        work,
        |activated| Done {
            release: &activated.release,
            revision: Some(activated.alias.revision),
        },
    ))?;
    let routing = stores.releases()?.routing;
    let found = stores.wait(releases::find_targets(routing.as_deref()));
    let targets = found.unwrap_or_else(|failure| {
        output::note(format!(
            "which versions serve is not known: {}",
            failure.message
        ));
        Vec::new()
    });
    let text = describe(&activated.release)
        .field("live", describe_alias(&activated.alias))
        .optional("versions", describe_targets(&targets));
    let mut value = json!({ "release": activated.release, "live": activated.alias });
    add_targets(&mut value, &targets);
    Report::new(&value, text)
}

/// The versions of the function that serve, with their shares; nothing where there is no function.
fn describe_targets(targets: &[Target]) -> Option<String> {
    let shown: Vec<String> = targets
        .iter()
        .map(|target| format!("{} ({} %)", target.version, target.weight * 100.0))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn add_targets(value: &mut Value, targets: &[Target]) {
    if !targets.is_empty() {
        value["versions"] = targets
            .iter()
            .map(|target| json!({ "version": target.version, "weight": target.weight }))
            .collect();
    }
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
