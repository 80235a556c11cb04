//! Releases: immutable sets of models that go live together.

use artifact::{ModelName, ModelVersion, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalId, ReleaseId};

/// The version tag of a release's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseFormat {
    /// The only version so far.
    #[serde(rename = "sealcast.release/v1")]
    V1,
}

/// An immutable set of models with their roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version of this form.
    pub format: ReleaseFormat,
    /// The release's id.
    pub id: ReleaseId,
    /// Who created it; nobody approves what they created.
    pub created_by: PrincipalId,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
    /// The models.
    pub models: Vec<ReleaseModel>,
}

/// One model of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseModel {
    /// What the model is for in this release.
    pub role: ReleaseRole,
    /// The model's name.
    pub name: ModelName,
    /// The model's version.
    pub version: ModelVersion,
    /// One digest of the artifact's signed files, as [`artifact::Verified::digest`] gives it.
    pub digest: Sha256Digest,
}

impl ReleaseModel {
    /// `name@version`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// What a model is for in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseRole {
    /// Answers requests for its name.
    Live,
    /// Answers in the place of the live model of this name when that one fails.
    FallbackFor(ModelName),
}

/// Why a set of models is no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseFault {
    /// Nothing would answer.
    #[error("a release needs at least one live model")]
    NoLiveModel,
    /// A name is live with two versions, or twice.
    #[error("{0} is live more than once")]
    LiveTwice(ModelName),
    /// A live model has two fallback models.
    #[error("{0} has more than one fallback model")]
    FallbackTwice(ModelName),
    /// A fallback model stands in for a model that is not live here.
    #[error("a fallback model stands in for {0}, which is not live in this release")]
    FallbackForNothing(ModelName),
    /// A model is its own fallback.
    #[error("{0} is its own fallback model")]
    FallbackForItself(ModelName),
}

impl Release {
    /// Checks that the models fit together.
    ///
    /// # Errors
    /// The first [`ReleaseFault`].
    pub fn check(&self) -> Result<(), ReleaseFault> {
        let mut live: Vec<&ModelName> = Vec::new();
        for model in self.models.iter().filter(|m| m.role == ReleaseRole::Live) {
            if live.contains(&&model.name) {
                return Err(ReleaseFault::LiveTwice(model.name.clone()));
            }
            live.push(&model.name);
        }
        if live.is_empty() {
            return Err(ReleaseFault::NoLiveModel);
        }
        let mut covered: Vec<&ModelName> = Vec::new();
        for model in &self.models {
            let ReleaseRole::FallbackFor(name) = &model.role else {
                continue;
            };
            if *name == model.name && self.live(name).is_some_and(|l| l.version == model.version) {
                return Err(ReleaseFault::FallbackForItself(name.clone()));
            }
            if !live.contains(&name) {
                return Err(ReleaseFault::FallbackForNothing(name.clone()));
            }
            if covered.contains(&name) {
                return Err(ReleaseFault::FallbackTwice(name.clone()));
            }
            covered.push(name);
        }
        Ok(())
    }

    /// The live model of this name.
    pub fn live(&self, name: &ModelName) -> Option<&ReleaseModel> {
        self.models
            .iter()
            .find(|m| m.role == ReleaseRole::Live && m.name == *name)
    }

    /// The model that stands in for the live model of this name.
    pub fn fallback_for(&self, name: &ModelName) -> Option<&ReleaseModel> {
        self.models
            .iter()
            .find(|m| matches!(&m.role, ReleaseRole::FallbackFor(n) if n == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(role: ReleaseRole, name: &str, version: &str) -> ReleaseModel {
        ReleaseModel {
            role,
            name: ModelName::parse(name).unwrap(),
            version: ModelVersion::parse(version).unwrap(),
            digest: Sha256Digest::of(name.as_bytes()),
        }
    }

    fn fallback_for(name: &str) -> ReleaseRole {
        ReleaseRole::FallbackFor(ModelName::parse(name).unwrap())
    }

    fn check(models: Vec<ReleaseModel>) -> Result<(), ReleaseFault> {
        Release {
            format: ReleaseFormat::V1,
            id: ReleaseId::from_number(1).unwrap(),
            created_by: PrincipalId::parse("anna").unwrap(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            models,
        }
        .check()
    }

    #[test]
    fn a_release_has_one_live_model_a_name_and_one_fallback_for_each() {
        let a = ModelName::parse("a").unwrap();
        let live = || model(ReleaseRole::Live, "a", "1.0.0");
        assert_eq!(
            check(vec![live(), model(fallback_for("a"), "b", "1.0.0")]),
            Ok(())
        );
        assert_eq!(
            check(vec![live(), model(fallback_for("a"), "a", "0.9.0")]),
            Ok(())
        );
        assert_eq!(check(vec![]), Err(ReleaseFault::NoLiveModel));
        assert_eq!(
            check(vec![live(), model(ReleaseRole::Live, "a", "2.0.0")]),
            Err(ReleaseFault::LiveTwice(a.clone()))
        );
        assert_eq!(
            check(vec![live(), model(fallback_for("a"), "a", "1.0.0")]),
            Err(ReleaseFault::FallbackForItself(a.clone()))
        );
        assert_eq!(
            check(vec![
                live(),
                model(fallback_for("a"), "b", "1.0.0"),
                model(fallback_for("a"), "c", "1.0.0")
            ]),
            Err(ReleaseFault::FallbackTwice(a))
        );
        assert!(matches!(
            check(vec![live(), model(fallback_for("z"), "b", "1.0.0")]),
            Err(ReleaseFault::FallbackForNothing(_))
        ));
    }

    #[test]
    fn the_stored_form_is_strict() {
        let text = r#"{"format":"sealcast.release/v1","id":"r-000001","created_by":"anna",
            "created_at":"2026-01-01T00:00:00Z","models":[{"role":{"fallback_for":"a"},"name":"b",
            "version":"1.0.0","digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#;
        let release: Release = serde_json::from_str(text).unwrap();
        assert_eq!(
            release
                .fallback_for(&ModelName::parse("a").unwrap())
                .unwrap()
                .label(),
            "b@1.0.0"
        );
        assert!(
            serde_json::from_str::<Release>(&text.replace("release/v1", "release/v2")).is_err()
        );
    }
}
