//! `sealcast verify`: whether a sealed artifact is what was signed, to the end.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::arguments::{ModelLabel, StoreArguments};
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::sealed::{self, OpenedModel, describe_packed};
use crate::stores::Stores;

/// Verify a sealed artifact, open it and prove that it serves, and that its packed form is that of its ONNX file.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The folder that `sealcast seal` made.
    #[arg(required_unless_present = "stored", conflicts_with = "stored")]
    folder: Option<PathBuf>,
    /// A sealed model of the store.
    #[arg(long, value_name = "NAME@VERSION", value_parser = ModelLabel::parse)]
    stored: Option<ModelLabel>,
    #[command(flatten)]
    store: StoreArguments,
}

/// Verifies signature and digests, decrypts both forms, binds model, manifest and background and scores a row, packs the
/// ONNX file anew and compares byte by byte.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let (label, model) = match &arguments.stored {
        Some(label) => (label.clone(), sealed::open_stored(&stores, label)?),
        None => open_folder(
            &stores,
            arguments.folder.as_deref().unwrap_or(Path::new("")),
        )?,
    };
    sealed::check_serves(&model)
        .map_err(|failure| failure.while_doing(&label).at(label.to_string()))?;
    let text = Text::new()
        .field("verified", &label)
        .field("digest", model.digest)
        .field("signed by", &model.signed_by)
        .field("packed form", describe_packed(&model));
    Report::new(
        &json!({
            "model": label.to_string(),
            "digest": model.digest,
            "signed_by": model.signed_by,
            "packed": model.opened.manifest.packed,
        }),
        text,
    )
}

fn open_folder(stores: &Stores, folder: &Path) -> Result<(ModelLabel, OpenedModel), Failure> {
    let place = folder.display().to_string();
    if !folder.exists() && ModelLabel::parse(&place).is_ok() {
        let message =
            format!("{place}: no such folder; a model of the store is named by --stored {place}");
        return Err(Failure::not_found("file.not_found", message).at(place));
    }
    let files = sealed::read_folder(folder)?;
    let unwrapper = stores.keys()?.unwrapper;
    let trusted = stores.wait(stores.trusted_model_keys())?;
    let opened = sealed::label_of(&files).and_then(|label| {
        let opened = sealed::open_model(&files, &label, &trusted, unwrapper.as_ref());
        let model = stores.wait(opened)?;
        Ok((label, model))
    });
    opened.map_err(|failure| failure.while_doing(&place).at(&place))
}
