//! `sealcast seal`: from a model and its manifest to a signed, encrypted artifact.

use std::path::{Path, PathBuf};

use artifact::Manifest;
use artifact::manifest::{MAX_MANIFEST_SIZE, ManifestError};
use clap::Args;
use engine::{Explainer, Form, LoadLimits, Model, Scorer, pack};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::describe;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::sealed::describe_packed;
use crate::stores::Stores;
use crate::{files, sealed};

/// Encrypt and sign a model with its manifest; the files of the artifact go to a new folder.
#[derive(Debug, Args)]
pub(crate) struct SealArguments {
    /// The ONNX file.
    model: PathBuf,
    /// The manifest: what the model is, takes, promises and may be used for.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Fill in the training statistics of the manifest's columns and the background of explanations from this file
    /// (with a header).
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The rows that predictions are explained against, where they are not those of --csv (with a header).
    #[arg(long, value_name = "FILE")]
    background: Option<PathBuf>,
    /// Whose keys are used.
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of the keys, where it is not DATA/keys.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The folder to make; one that holds anything is never overwritten.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Seals, and opens what was sealed again before the folder gets its name.
pub(crate) fn run(arguments: &SealArguments) -> Result<Report, Failure> {
    let onnx = files::read(&arguments.model, files::MAX_FILE)?;
    let (manifest, explanations) = complete_manifest(arguments, &onnx)?;
    let packed = pack_fit(&manifest, &onnx)
        .map_err(|failure| failure.while_doing(arguments.model.display()))?;
    let stores = Stores::open_keys(&arguments.store, arguments.keys.as_deref())?;
    let keys = stores.keys()?;
    let trusted = stores.wait(stores.trusted_model_keys())?;
    let made = sealed::seal_model(manifest, &onnx, packed.as_deref(), &keys);
    let made = stores.wait(made)?;
    let label = sealed::label_of(&made)?;
    let mut seen = None;
    sealed::write_folder(&arguments.out, &made, |read| {
        let opened = sealed::open_model(read, &label, &trusted, keys.unwrapper.as_ref());
        let model = stores.wait(opened)?;
        if model.opened.onnx.as_slice() != onnx.as_slice() {
            let message = "the sealed model does not open to the bytes that were sealed";
            return Err(Failure::internal(message));
        }
        sealed::check_packed(&model)?;
        seen = Some(model);
        Ok(())
    })?;
    let model = seen.ok_or_else(|| Failure::internal("the sealed model was not opened again"))?;
    let found = model.opened.manifest.model;
    let sha256 = found.map(|file| file.sha256.to_string());
    let out = arguments.out.display().to_string();
    let text = Text::new()
        .field("sealed", &label)
        .field("folder", &out)
        .field("digest", model.digest)
        .optional("model sha256", sha256.as_ref())
        .field("packed form", describe_packed(&model))
        .field("signed by", &model.signed_by)
        .field("explanations", &explanations)
        .field("data key under", &keys.wrapping_key);
    Report::new(
        &json!({
            "model": label.to_string(),
            "folder": out,
            "digest": model.digest,
            "model_sha256": sha256,
            "model_size": found.map(|file| file.size),
            "packed": model.opened.manifest.packed,
            "signed_by": model.signed_by,
            "explanations": explanations,
            "master_key": keys.wrapping_key,
        }),
        text,
    )
}

fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let bytes = files::read(path, MAX_MANIFEST_SIZE as u64)?;
    Manifest::from_json(&bytes).map_err(|error| blame(path, &error))
}

/// The manifest, completed from the training data where they are given, and held to the model. The text says how its
/// predictions are explained, or why they are not.
fn complete_manifest(
    arguments: &SealArguments,
    onnx: &[u8],
) -> Result<(Manifest, String), Failure> {
    let in_model = |failure: Failure| failure.while_doing(arguments.model.display());
    let Some(rows) = arguments.background.as_ref().or(arguments.csv.as_ref()) else {
        let manifest = read_manifest(&arguments.manifest)?;
        check_fit(&manifest, onnx).map_err(in_model)?;
        let bound = Explainer::bind(&manifest, Form::Onnx, onnx, &LoadLimits::default());
        let explanations = match bound.map_err(|error| in_model(error.into()))? {
            Some(explainer) => {
                let (method, rows) = (explainer.method().name(), explainer.background_rows());
                format!("{method} against {rows} rows")
            }
            None => {
                "not available: the manifest holds no background, which --csv or --background fills in".to_owned()
            }
        };
        return Ok((manifest, explanations));
    };
    let mut manifest = read_and_fill(&arguments.manifest, arguments.csv.as_deref())?;
    let scorer = check_fit(&manifest, onnx).map_err(in_model)?;
    let explanations = describe::fill_background(&mut manifest, &scorer, onnx, rows)?;
    Ok((manifest, explanations))
}

/// Reads a manifest whose policies may need the statistics that are filled in here; it is held to its rules
/// only afterwards. Its background is filled in later.
fn read_and_fill(path: &Path, csv: Option<&Path>) -> Result<Manifest, Failure> {
    let bytes = files::read(path, MAX_MANIFEST_SIZE as u64)?;
    let Ok(mut manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
        // The strict reader says what is wrong with the form.
        return read_manifest(path);
    };
    if let Some(csv) = csv {
        describe::fill_statistics(&mut manifest, csv)?;
    }
    let complete = Manifest {
        explain: None,
        ..manifest.clone()
    };
    complete
        .validate()
        .map_err(|faults| blame(path, &ManifestError::Invalid(faults)))?;
    Ok(manifest)
}

fn blame(path: &Path, error: &ManifestError) -> Failure {
    Failure::refused(error.code(), error.to_string())
        .while_doing(path.display())
        .at(path.display().to_string())
}

/// Loads the model, binds it to the manifest and scores a row: what a server does before it serves it.
fn check_fit(manifest: &Manifest, onnx: &[u8]) -> Result<Scorer, Failure> {
    let model = Model::load(onnx, &LoadLimits::default())?;
    Ok(Scorer::new(manifest, model)?)
}

/// The model's packed form, where it has one, bound to the manifest as the model was.
fn pack_fit(manifest: &Manifest, onnx: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let limits = LoadLimits::default();
    let packed = pack(onnx, &limits)?;
    if let Some(packed) = &packed {
        Scorer::new(manifest, Model::load_packed(packed.clone(), &limits)?)?;
        Explainer::bind(manifest, Form::Packed, packed, &limits)?;
    }
    Ok(packed)
}
