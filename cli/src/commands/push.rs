//! `sealcast push`: a sealed artifact into the store.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::stores::Stores;
use crate::{progress, sealed};

/// Verify a sealed artifact and put it into the store; the same one again is no error.
#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// The folder that `sealcast seal` made.
    folder: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

/// Pushes what verifies, opens and, if it has a packed form, is the same model in both; other files under a version that exists are refused.
pub(crate) fn run(arguments: &PushArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let files = sealed::read_folder(&arguments.folder)?;
    let place = arguments.folder.display().to_string();
    let unwrapper = stores.keys()?.unwrapper;
    let trusted = stores.wait(stores.trusted_model_keys())?;
    let checked = sealed::label_of(&files).and_then(|label| {
        let opened = sealed::open_model(&files, &label, &trusted, unwrapper.as_ref());
        let model = stores.wait(opened)?;
        sealed::check_serves(&model)?;
        Ok((model, label))
    });
    let (model, label) = checked.map_err(|failure| failure.while_doing(&place).at(&place))?;
    let artifacts = stores.artifacts()?.writer;
    let shown = progress::show(format!("storing {label}"));
    stores.wait(artifacts.create(&label.name, &label.version, &files))?;
    drop(shown);
    let text = Text::new()
        .field("pushed", &label)
        .field("digest", model.digest)
        .field("signed by", &model.signed_by);
    Report::new(
        &json!({
            "model": label.to_string(),
            "digest": model.digest,
            "signed_by": model.signed_by,
        }),
        text,
    )
}
