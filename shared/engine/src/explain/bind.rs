//! An explainer and the manifest that promises it.

use artifact::manifest::{Manifest, OutputContract};

use super::{ExplainError, Explainer, Form, unavailable};
use crate::error::LoadError;
use crate::limits::LoadLimits;

impl Explainer {
    /// The explainer of a sealed model; none where its manifest holds no background.
    ///
    /// # Errors
    /// [`LoadError::ManifestMismatch`] where the background is none of this model's.
    pub fn bind(
        manifest: &Manifest,
        form: Form,
        bytes: &[u8],
        limits: &LoadLimits,
    ) -> Result<Option<Self>, LoadError> {
        let explain = manifest.explain.as_ref();
        let Some(background) = explain.and_then(|explain| explain.background.as_ref()) else {
            return Ok(None);
        };
        let bound = Self::with_background(form, bytes, background.summary.bytes(), limits);
        let checked = bound.and_then(|explainer| {
            explainer.check_manifest(manifest)?;
            Ok(explainer)
        });
        match checked {
            Ok(explainer) if explainer.rows == background.rows => Ok(Some(explainer)),
            Ok(explainer) => Err(LoadError::ManifestMismatch {
                field: "explain.background.rows".to_owned(),
                reason: format!(
                    "{} where the summary counts {}",
                    background.rows, explainer.rows
                ),
            }),
            Err(ExplainError::Load(error)) => Err(error),
            Err(other) => Err(LoadError::ManifestMismatch {
                field: "explain.background.summary".to_owned(),
                reason: other.to_string(),
            }),
        }
    }

    /// Whether features and scores are those that the manifest has names for.
    ///
    /// # Errors
    /// [`ExplainError::NotAvailable`].
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<(), ExplainError> {
        let input = manifest
            .inputs
            .iter()
            .find(|input| input.name == self.input);
        let Some([_, columns]) = input.map(|input| &*input.shape) else {
            let reason = format!("the input `{}` is no table of rows and columns", self.input);
            return Err(unavailable(reason));
        };
        let columns = usize::try_from(*columns).unwrap_or(0);
        self.model.check_columns(columns)?;
        let scores = self.expectation.len();
        let (fits, named) = match &manifest.output {
            OutputContract::Classification { labels, .. } => {
                let (one, two) = (scores == 1, labels.len() == 2);
                (scores == labels.len() || (one && two), labels.len())
            }
            OutputContract::Regression { .. } => (scores == 1, 1),
        };
        if fits {
            return Ok(());
        }
        let reason = format!("the model has {scores} scores, the manifest's output {named}");
        Err(unavailable(reason))
    }
}
