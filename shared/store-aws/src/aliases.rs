//! Aliases of a Lambda function: which release serves stands in the alias's description.
//!
//! `sealcast release=r-000007 revision=3 version=5`: release and revision are
//! ours, the version is what the alias must point to for them to be true. An
//! alias without such a description was never activated; one whose description
//! does not fit its version was moved by something else.

mod activation;

use std::fmt;

use async_trait::async_trait;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use domain::ports::{Alias, AliasReader, AliasWriter, Routing, RoutingReader, Target};
use domain::{ReleaseId, StoreError};

use self::activation::Activation;
use crate::attempt::{Access, Patience};

/// What a description of ours begins with.
const PREFIX: &str = "sealcast ";

/// Aliases of a Lambda function, each with its revision in its description.
#[derive(Debug)]
pub struct LambdaAliases {
    client: Client,
    patience: Patience,
    function: String,
}

/// An alias as Lambda has it.
#[derive(Debug, Clone)]
struct Found {
    /// What its description says, if it is ours.
    alias: Option<Alias>,
    targets: Vec<Target>,
    description: String,
    /// Changes with every change of the alias.
    revision_id: String,
}

/// What a description of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Description {
    release: ReleaseId,
    revision: u64,
    version: String,
}

impl Description {
    /// `Ok(None)` for a description that is not ours; `Err` for one that claims to be and cannot be read.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        let expected = || {
            format!(
                "the description {text:?}: expected `{PREFIX}release=r-000001 revision=1 version=1`"
            )
        };
        let mut parts = rest.split(' ');
        let mut part = |name: &str| {
            let (found, value) = parts.next()?.split_once('=')?;
            (found == name).then_some(value)
        };
        let described = (|| {
            Some(Self {
                release: ReleaseId::parse(part("release")?).ok()?,
                revision: part("revision")?.parse().ok()?,
                version: part("version")?.to_owned(),
            })
        })();
        // One spelling: what is read is written the same way.
        described
            .filter(|described| described.to_string() == text && described.revision > 0)
            .map(Some)
            .ok_or_else(expected)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            release,
            revision,
            version,
        } = self;
        write!(
            f,
            "{PREFIX}release={release} revision={revision} version={version}"
        )
    }
}

impl Found {
    fn read(name: &str, reply: GetAliasOutput) -> Result<Self, StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt(format!("alias {name}: {reason}"));
        let description = reply.description.unwrap_or_default();
        let described = Description::parse(&description).map_err(corrupt)?;
        let version = reply.function_version.unwrap_or_default();
        if let Some(described) = &described
            && described.version != version
        {
            return Err(corrupt(format!(
                "it points to version {version} and says {}: it was moved by something else",
                described.version
            )));
        }
        let shifted = reply
            .routing_config
            .and_then(|routing| routing.additional_version_weights)
            .unwrap_or_default();
        let mut targets: Vec<Target> = shifted
            .into_iter()
            .filter(|(_, weight)| *weight > 0.0)
            .map(|(version, weight)| Target { version, weight })
            .collect();
        let rest = 1.0 - targets.iter().map(|target| target.weight).sum::<f64>();
        let main = Target {
            version,
            weight: rest,
        };
        targets.insert(0, main);
        Ok(Self {
            alias: described.map(|described| Alias {
                release: described.release,
                revision: described.revision,
            }),
            targets,
            description,
            revision_id: reply.revision_id.unwrap_or_default(),
        })
    }

    /// The alias's revision as its callers count: 0 before the first activation.
    fn revision(&self) -> u64 {
        self.alias.as_ref().map_or(0, |alias| alias.revision)
    }
}

impl LambdaAliases {
    pub(crate) fn new(client: Client, patience: Patience, function: String) -> Self {
        Self {
            client,
            patience,
            function,
        }
    }

    /// The alias; `None` where there is none.
    async fn find(&self, name: &str) -> Result<Option<Found>, StoreError> {
        let call = || {
            self.client
                .get_alias()
                .function_name(&self.function)
                .name(name)
                .send()
        };
        let what = format!("read alias {name} of {}", self.function);
        match self.patience.attempt(Access::Read, what, call).await {
            Ok(reply) => Found::read(name, reply).map(Some),
            Err(failed) if failed.is("ResourceNotFoundException") => Ok(None),
            Err(failed) => Err(failed.into_store()),
        }
    }
}

#[async_trait]
impl AliasReader for LambdaAliases {
    async fn get(&self, alias: &str) -> Result<Option<Alias>, StoreError> {
        Ok(self.find(alias).await?.and_then(|found| found.alias))
    }
}

#[async_trait]
impl RoutingReader for LambdaAliases {
    async fn routing(&self, alias: &str) -> Result<Routing, StoreError> {
        let found = self
            .find(alias)
            .await?
            .ok_or_else(|| StoreError::NotFound(format!("alias {alias} of {}", self.function)))?;
        Ok(Routing {
            alias: found.alias,
            targets: found.targets,
        })
    }
}

#[async_trait]
impl AliasWriter for LambdaAliases {
    /// Sets `SEALCAST_RELEASE` in the function's configuration, publishes that as a version, and points the alias to
    /// it. Of two that do so at once one is refused; it leaves behind a version that nothing points to.
    /// Waits for Lambda between the steps, two minutes in all at most.
    async fn compare_and_swap(
        &self,
        alias: &str,
        expected: u64,
        release: ReleaseId,
    ) -> Result<Alias, StoreError> {
        Activation::new(self, alias, expected, release).run().await
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::AliasRoutingConfiguration;

    use super::*;

    const OURS: &str = "sealcast release=r-000007 revision=3 version=5";

    #[test]
    fn a_description_has_one_spelling() {
        let described = Description::parse(OURS).unwrap().unwrap();
        assert_eq!((described.release.number(), described.revision), (7, 3));
        assert_eq!(
            (described.version.as_str(), described.to_string().as_str()),
            ("5", OURS)
        );
        for other in [
            "",
            "Created by CloudFormation",
            "sealcast",
            "Sealcast release",
        ] {
            assert_eq!(Description::parse(other), Ok(None), "{other:?}");
        }
        for broken in [
            "sealcast ",
            "sealcast release=r-000007",
            "sealcast release=r-7 revision=3 version=5",
            "sealcast release=r-000007 revision=0 version=5",
            "sealcast release=r-000007 revision=03 version=5",
            "sealcast revision=3 release=r-000007 version=5",
            "sealcast release=r-000007 revision=3 version=5 ",
            "sealcast release=r-000007 revision=3 version=5 more",
        ] {
            assert!(Description::parse(broken).is_err(), "{broken:?}");
        }
    }

    fn reply(description: &str, version: &str, shifted: &[(&str, f64)]) -> GetAliasOutput {
        let mut routing = AliasRoutingConfiguration::builder();
        for (version, weight) in shifted {
            routing = routing.additional_version_weights(*version, *weight);
        }
        GetAliasOutput::builder()
            .description(description)
            .function_version(version)
            .routing_config(routing.build())
            .revision_id("r")
            .build()
    }

    #[test]
    fn an_alias_that_was_moved_by_something_else_is_corrupt() {
        let found = Found::read("live", reply(OURS, "5", &[])).unwrap();
        assert_eq!((found.revision(), found.targets.len()), (3, 1));
        for (description, version) in [(OURS, "6"), ("sealcast release=?", "5")] {
            let result = Found::read("live", reply(description, version, &[]));
            assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}");
        }
        let before = Found::read("live", reply("made by the template", "1", &[])).unwrap();
        assert_eq!((before.alias.clone(), before.revision()), (None, 0));
    }

    #[test]
    fn the_shares_of_all_targets_add_up_to_one() {
        let found = Found::read("live", reply(OURS, "5", &[("6", 0.25)])).unwrap();
        let shares: Vec<_> = found
            .targets
            .iter()
            .map(|target| (target.version.as_str(), target.weight))
            .collect();
        assert_eq!(shares, [("5", 0.75), ("6", 0.25)]);
        let found = Found::read("live", reply(OURS, "5", &[("6", 0.0)])).unwrap();
        assert_eq!(found.targets.len(), 1);
    }
}
