//! One activation: configure the function, publish that as a version, point the alias to it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{AliasRoutingConfiguration, Environment, LastUpdateStatus, State};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::ports::Alias;
use domain::{ReleaseId, StoreError};
use tokio::time::{Instant, sleep};

use super::{Description, Found, LambdaAliases};
use crate::attempt::{Access, Failed, Patience};

/// The environment variable that says which release a version serves.
const RELEASE_VARIABLE: &str = "SEALCAST_RELEASE";
/// What is changed before it is published.
const LATEST: &str = "$LATEST";
/// Time for the whole activation.
const BUDGET: Duration = Duration::from_mins(2);
/// Pause between two looks at something that Lambda is still at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often a version is published when the function changes in between without changing what is published.
const PUBLISH_ATTEMPTS: usize = 3;

pub(super) struct Activation<'a> {
    aliases: &'a LambdaAliases,
    /// Lambda's own changes take longer than data does.
    patience: Patience,
    alias: &'a str,
    expected: u64,
    release: ReleaseId,
    until: Instant,
}

/// What a version is made of, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Configuration {
    environment: HashMap<String, String>,
    code_sha256: String,
    revision_id: String,
}

impl Configuration {
    fn is_same_but_for_revision(&self, other: &Self) -> bool {
        self.environment == other.environment && self.code_sha256 == other.code_sha256
    }
}

/// Whether Lambda said that something changed in between.
fn was_changed<E: ProvideErrorMetadata>(failed: &Failed<E>) -> bool {
    failed.is("PreconditionFailedException") || failed.is("ResourceConflictException")
}

impl<'a> Activation<'a> {
    pub(super) fn new(
        aliases: &'a LambdaAliases,
        alias: &'a str,
        expected: u64,
        release: ReleaseId,
    ) -> Self {
        Self {
            aliases,
            patience: aliases.patience.unhurried(),
            alias,
            expected,
            release,
            until: Instant::now() + BUDGET,
        }
    }

    pub(super) async fn run(self) -> Result<Alias, StoreError> {
        let before = self.aliases.find(self.alias).await?;
        let found = before.as_ref().map_or(0, Found::revision);
        if found != self.expected {
            return Err(StoreError::Conflict(format!(
                "alias {}: revision {found}, expected {}",
                self.alias, self.expected
            )));
        }
        let configured = self.configure().await?;
        let version = self.publish(configured).await?;
        let published = self.settled(&version).await?;
        if published.environment.get(RELEASE_VARIABLE) != Some(&self.release.to_string()) {
            return Err(self.changed(format!("version {version} is of another release")));
        }
        self.point(before, version).await
    }

    fn changed(&self, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Conflict(format!(
            "function {}: {reason}: it was changed meanwhile",
            self.aliases.function
        ))
    }

    /// The configuration of a version, once Lambda has finished with it.
    async fn settled(&self, version: &str) -> Result<Configuration, StoreError> {
        let function = &self.aliases.function;
        loop {
            let call = || {
                let get = self.aliases.client.get_function_configuration();
                get.function_name(function).qualifier(version).send()
            };
            let what = format!("read the configuration of {function} {version}");
            let result = self
                .aliases
                .patience
                .attempt(Access::Read, what, call)
                .await;
            let reply = result.map_err(|failed| {
                if failed.is("ResourceNotFoundException") {
                    StoreError::NotFound(format!("function {function} version {version}"))
                } else {
                    failed.into_store()
                }
            })?;
            if is_settled(function, version, &reply)? {
                return configuration(function, reply);
            }
            if Instant::now() >= self.until {
                return Err(StoreError::Unavailable(format!(
                    "function {function} {version} is still being updated"
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Sets the release in the function's environment, and keeps everything else in it.
    async fn configure(&self) -> Result<Configuration, StoreError> {
        let latest = self.settled(LATEST).await?;
        let mut wanted = latest.environment.clone();
        wanted.insert(RELEASE_VARIABLE.to_owned(), self.release.to_string());
        if wanted == latest.environment {
            return Ok(latest);
        }
        let function = &self.aliases.function;
        let call = || {
            let environment = Environment::builder().set_variables(Some(wanted.clone()));
            self.aliases
                .client
                .update_function_configuration()
                .function_name(function)
                .environment(environment.build())
                .revision_id(&latest.revision_id)
                .send()
        };
        let what = format!("configure {function} for release {}", self.release);
        let result = self.patience.attempt(Access::Write, what, call).await;
        match result {
            Err(failed) if !was_changed(&failed) && !failed.in_doubt => {
                return Err(failed.into_store());
            }
            _ => {}
        }
        // Where a reply was lost, what is there now tells whether the change was made.
        let now = self.settled(LATEST).await?;
        if now.environment == wanted {
            return Ok(now);
        }
        Err(match result {
            Err(failed) if !was_changed(&failed) => failed.into_store(),
            _ => self.changed("its environment"),
        })
    }

    /// Publishes what was configured; where nothing changed since, that is the version published last.
    async fn publish(&self, mut configured: Configuration) -> Result<String, StoreError> {
        let function = &self.aliases.function;
        for _ in 0..PUBLISH_ATTEMPTS {
            let call = || {
                self.aliases
                    .client
                    .publish_version()
                    .function_name(function)
                    .code_sha256(&configured.code_sha256)
                    .revision_id(&configured.revision_id)
                    .send()
            };
            let what = format!("publish a version of {function}");
            let failed = match self.patience.attempt(Access::Write, what, call).await {
                Ok(reply) => {
                    return reply.version.ok_or_else(|| {
                        StoreError::Corrupt(format!("a version of {function} has no number"))
                    });
                }
                Err(failed) => failed,
            };
            if !was_changed(&failed) && !failed.in_doubt {
                return Err(failed.into_store());
            }
            let now = self.settled(LATEST).await?;
            if !now.is_same_but_for_revision(&configured) {
                return Err(self.changed("what is to be published"));
            }
            configured = now;
        }
        Err(self.changed("its revision"))
    }

    /// Points the alias to the version, all weight on it, if it is still as it was.
    async fn point(&self, before: Option<Found>, version: String) -> Result<Alias, StoreError> {
        let (function, name) = (&self.aliases.function, self.alias);
        let description = Description {
            release: self.release,
            revision: self.expected + 1,
            version: version.clone(),
        }
        .to_string();
        let what = format!("point alias {name} of {function} to version {version}");
        let (refused, in_doubt, error) = if let Some(before) = before {
            let call = || {
                let alone = AliasRoutingConfiguration::builder()
                    .set_additional_version_weights(Some(HashMap::new()));
                self.aliases
                    .client
                    .update_alias()
                    .function_name(function)
                    .name(name)
                    .function_version(&version)
                    .description(&description)
                    .routing_config(alone.build())
                    .revision_id(&before.revision_id)
                    .send()
            };
            match self.patience.attempt(Access::Write, what, call).await {
                Ok(_) => return Ok(self.made()),
                Err(failed) => (was_changed(&failed), failed.in_doubt, failed.into_store()),
            }
        } else {
            let call = || {
                self.aliases
                    .client
                    .create_alias()
                    .function_name(function)
                    .name(name)
                    .function_version(&version)
                    .description(&description)
                    .send()
            };
            match self.patience.attempt(Access::Write, what, call).await {
                Ok(_) => return Ok(self.made()),
                Err(failed) => (was_changed(&failed), failed.in_doubt, failed.into_store()),
            }
        };
        if in_doubt {
            // A lost reply: the alias says whether it was moved by us.
            let now = self.aliases.find(name).await?;
            if now.is_some_and(|now| now.description == description) {
                return Ok(self.made());
            }
        }
        Err(if refused {
            StoreError::Conflict(format!("alias {name} was moved by somebody else meanwhile"))
        } else {
            error
        })
    }

    fn made(&self) -> Alias {
        Alias {
            release: self.release,
            revision: self.expected + 1,
        }
    }
}

/// Whether Lambda has finished with a version; an error where it failed.
fn is_settled(
    function: &str,
    version: &str,
    reply: &GetFunctionConfigurationOutput,
) -> Result<bool, StoreError> {
    let failed = |reason: Option<&str>| {
        let reason = reason.unwrap_or("Lambda gives no reason");
        StoreError::Unavailable(format!("function {function} {version} failed: {reason}"))
    };
    match &reply.last_update_status {
        Some(LastUpdateStatus::Failed) => return Err(failed(reply.last_update_status_reason())),
        Some(LastUpdateStatus::InProgress) => return Ok(false),
        _ => {}
    }
    match &reply.state {
        Some(State::Failed) => Err(failed(reply.state_reason())),
        // An inactive version wakes up with its first request.
        None | Some(State::Active | State::Inactive) => Ok(true),
        Some(_) => Ok(false),
    }
}

fn configuration(
    function: &str,
    reply: GetFunctionConfigurationOutput,
) -> Result<Configuration, StoreError> {
    let environment = match reply.environment {
        None => HashMap::new(),
        Some(environment) => {
            if let Some(error) = environment.error() {
                // Writing back what cannot be read would remove it.
                return Err(StoreError::Unavailable(format!(
                    "the environment of {function} cannot be read: {}",
                    error.message().unwrap_or("Lambda gives no reason")
                )));
            }
            environment.variables.unwrap_or_default()
        }
    };
    Ok(Configuration {
        environment,
        code_sha256: reply.code_sha256.unwrap_or_default(),
        revision_id: reply.revision_id.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::{EnvironmentError, EnvironmentResponse};

    use super::*;

    fn reply(state: State, update: LastUpdateStatus) -> GetFunctionConfigurationOutput {
        GetFunctionConfigurationOutput::builder()
            .state(state)
            .last_update_status(update)
            .last_update_status_reason("no such subnet")
            .build()
    }

    #[test]
    fn an_update_is_waited_for_and_a_failed_one_is_not() {
        let settled = |state, update| is_settled("f", "1", &reply(state, update));
        let done = LastUpdateStatus::Successful;
        assert_eq!(settled(State::Active, done.clone()), Ok(true));
        assert_eq!(settled(State::Inactive, done.clone()), Ok(true));
        assert_eq!(settled(State::Pending, done), Ok(false));
        assert_eq!(
            settled(State::Active, LastUpdateStatus::InProgress),
            Ok(false)
        );
        assert_eq!(
            settled(State::Active, LastUpdateStatus::Failed),
            Err(StoreError::Unavailable(
                "function f 1 failed: no such subnet".to_owned()
            ))
        );
    }

    #[test]
    fn an_environment_that_cannot_be_read_is_not_written_back() {
        let error = EnvironmentError::builder().message("KMS says no").build();
        let environment = EnvironmentResponse::builder().error(error).build();
        let reply = GetFunctionConfigurationOutput::builder()
            .environment(environment)
            .build();
        assert_eq!(
            configuration("f", reply),
            Err(StoreError::Unavailable(
                "the environment of f cannot be read: KMS says no".to_owned()
            ))
        );
    }
}
