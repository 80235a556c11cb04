//! `sealcast push`: a sealed artifact into the store.

use std::path::PathBuf;

use clap::Args;
use domain::ports::ArtifactWriter as _;
use serde_json::json;
use store_embedded::{FileArtifacts, LocalKeys};

use crate::arguments::DataDir;
use crate::commands::wait;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::sealed;

/// Verify a sealed artifact and put it into the store; the same one again is no error.
#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// The folder that `sealcast seal` made.
    folder: PathBuf,
    #[command(flatten)]
    data: DataDir,
}

/// Pushes what verifies and opens; other files under a version that exists are refused.
pub(crate) fn run(arguments: &PushArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let data = &arguments.data.path;
    let files = sealed::read_folder(&arguments.folder)?;
    let place = arguments.folder.display().to_string();
    let keys = LocalKeys::open(&data.join("keys"))?;
    let checked = sealed::label_of(&files).and_then(|label| {
        let model = wait(sealed::open_model(&files, &label, &keys))??;
        Ok((label, model))
    });
    let (label, model) = checked.map_err(|failure| failure.while_doing(&place).at(&place))?;
    let store = FileArtifacts::open(data)?;
    wait(store.create(&label.name, &label.version, &files))??;
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
