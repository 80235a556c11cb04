//! What a command does to releases is recorded in a stream of its own: that it will be done, before anything is changed,
//! and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::EventBody;
use audit::event::{ProcessStarted, ProcessStopped, ReleaseChange, ReleasedModel, Security};
use domain::recorder::NotRecordedError;
use domain::system::{SystemClock, SystemEntropy};
use domain::{PrincipalId, Recorder, Release, ReleaseRole};

use crate::arguments::ModelLabel;
use crate::failure::Failure;
use crate::stores::Recording;

/// Most characters of a sentence about a failure that are recorded.
const MAX_ERROR: usize = 500;

/// The record of a change to releases, from its first event to its last.
struct Recorded {
    recorder: Recorder,
    change: ReleaseChange,
}

/// What came of a change.
pub(crate) struct Done<'a> {
    pub(crate) release: &'a Release,
    /// The alias's revision that it made.
    pub(crate) revision: Option<u64>,
}

/// A change that is about to be made.
pub(crate) fn intended(action: &str, principal: &PrincipalId) -> ReleaseChange {
    ReleaseChange {
        action: action.to_owned(),
        code: None,
        error: None,
        models: Vec::new(),
        outcome: "intended".to_owned(),
        principal: principal.to_string(),
        release: None,
        revision: None,
    }
}

/// A model as a release is to have it.
pub(crate) fn intended_model((role, label): &(ReleaseRole, ModelLabel)) -> ReleasedModel {
    ReleasedModel {
        digest: None,
        fallback_for: stands_in_for(role),
        model: label.to_string(),
    }
}

fn stands_in_for(role: &ReleaseRole) -> Option<String> {
    match role {
        ReleaseRole::Live => None,
        ReleaseRole::FallbackFor(name) => Some(name.to_string()),
    }
}

/// Makes a change in this place: records what is intended, does it, and records what came of it. `describe` says what
/// was done.
///
/// Where the intention is not durable, nothing is done. Where what came of it is not, that is the failure, and says
/// what was done all the same.
pub(crate) async fn recorded<T>(
    place: impl Future<Output = Result<Recording, Failure>>,
    change: ReleaseChange,
    work: impl Future<Output = Result<T, Failure>>,
    describe: impl Fn(&T) -> Done<'_>,
) -> Result<T, Failure> {
    let record = Recorded::begin(place.await, change).await?;
    let result = work.await;
    let ended = record.end(result.as_ref().map(describe)).await;
    match (result, ended) {
        (result, Ok(())) => result,
        (Err(failure), Err(_)) => Err(failure),
        (Ok(_), Err(lost)) => Err(lost),
    }
}

impl Recorded {
    async fn begin(
        place: Result<Recording, Failure>,
        change: ReleaseChange,
    ) -> Result<Self, Failure> {
        let unchanged = |failure: Failure| {
            failure.while_doing("nothing was changed, for it cannot be recorded")
        };
        let place = place.map_err(unchanged)?;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let recorder = Recorder::new(place.host, place.appender, place.signer, clock, entropy);
        let command = format!("release {}", change.action);
        let started = EventBody::ProcessStarted(ProcessStarted {
            settings: BTreeMap::from([("command".to_owned(), command)]),
            software: concat!("sealcast ", env!("CARGO_PKG_VERSION")).to_owned(),
        });
        let events = vec![started, EventBody::Release(change.clone())];
        let intended = recorder.record_all(events).await;
        intended.map_err(|error| unchanged(not_recorded(error)))?;
        Ok(Self { recorder, change })
    }

    async fn end(mut self, result: Result<Done<'_>, &Failure>) -> Result<(), Failure> {
        let change = &mut self.change;
        let mut security = None;
        match &result {
            Ok(Done { release, revision }) => {
                "done".clone_into(&mut change.outcome);
                change.release = Some(release.id.to_string());
                change.revision = *revision;
                change.models = models_of(release);
            }
            Err(failure) => {
                let unknown = failure.code == "store.outcome_unknown";
                let outcome = if unknown { "unknown" } else { "failed" };
                outcome.clone_into(&mut change.outcome);
                change.code = Some(failure.code.clone());
                change.error = Some(shorten(&failure.message));
                security = is_security_event(failure).then(|| Security {
                    code: failure.code.clone(),
                    detail: shorten(&failure.message),
                    subject: failure.field.clone().unwrap_or_default(),
                });
            }
        }
        let stopped = ProcessStopped {
            reason: "the command ends".to_owned(),
        };
        let events = [EventBody::Release(change.clone())]
            .into_iter()
            .chain(security.map(EventBody::Security))
            .chain([EventBody::ProcessStopped(stopped)]);
        let recorded = self.recorder.record_all(events.collect()).await;
        recorded.map_err(|error| {
            let (action, release) = (&self.change.action, self.change.release.as_deref());
            let what = format!(
                "{action} {}: done, but only that it was intended is recorded",
                release.unwrap_or_default()
            );
            not_recorded(error).while_doing(what)
        })?;
        Ok(())
    }
}

fn not_recorded(error: NotRecordedError) -> Failure {
    match error {
        NotRecordedError::Store(error) => error.into(),
        NotRecordedError::Event(error) => {
            Failure::refused("audit.event_too_large", error.to_string())
        }
    }
}

fn models_of(release: &Release) -> Vec<ReleasedModel> {
    let models = release.models.iter();
    let recorded = models.map(|model| ReleasedModel {
        digest: Some(model.digest.to_string()),
        fallback_for: stands_in_for(&model.role),
        model: model.label(),
    });
    recorded.collect()
}

/// Whether only a changed artifact or release explains the failure.
fn is_security_event(failure: &Failure) -> bool {
    failure.code == "release.digest_mismatch" || failure.code.starts_with("artifact.")
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::{Record, SignedRegistration};
    use domain::StoreError;
    use domain::ports::{AuditAppender, Signer};
    use futures::future::BoxFuture;
    use std::sync::Mutex;
    use store_embedded::LocalKeys;

    /// Takes so many appends, and refuses the later ones.
    struct Takes {
        left: Mutex<usize>,
    }

    #[async_trait::async_trait]
    impl AuditAppender for Takes {
        async fn register(&self, _: &SignedRegistration) -> Result<(), StoreError> {
            Ok(())
        }
        fn append(&self, _: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
            let mut left = self.left.lock().unwrap();
            let taken = left.checked_sub(1);
            *left = taken.unwrap_or(0);
            let refused = || StoreError::Unavailable("no room".to_owned());
            Box::pin(std::future::ready(taken.map(drop).ok_or_else(refused)))
        }
    }

    /// What comes of a change that itself succeeds, and whether it was made, where so many appends are taken.
    fn change_with(appends: usize) -> (Result<Release, Failure>, bool) {
        let temp = tempfile::tempdir().unwrap();
        LocalKeys::create(temp.path()).unwrap();
        let signer: Arc<dyn Signer> = LocalKeys::open(temp.path()).unwrap().stream_signer();
        let place = async {
            Ok(Recording {
                appender: Arc::new(Takes {
                    left: Mutex::new(appends),
                }),
                signer,
                host: "cli/1".to_owned(),
            })
        };
        let principal = PrincipalId::parse("anna").unwrap();
        let mut made = false;
        let work = async {
            made = true;
            Ok(Release {
                format: domain::release::ReleaseFormat::V1,
                id: domain::ReleaseId::from_number(7).unwrap(),
                created_by: principal.clone(),
                created_at: "2026-01-01T00:00:00Z".to_owned(),
                models: Vec::new(),
            })
        };
        let change = intended("create", &principal);
        let done = recorded(place, change, work, |release| Done {
            release,
            revision: None,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let result = runtime.unwrap().block_on(done);
        (result, made)
    }

    #[test]
    fn nothing_is_changed_before_the_intention_is_durable() {
        let (result, made) = change_with(0);
        let failure = result.unwrap_err();
        assert_eq!(failure.code, "store.unavailable");
        assert!(
            failure.message.starts_with("nothing was changed"),
            "{failure:?}"
        );
        assert!(!made);
    }

    #[test]
    fn a_change_whose_outcome_is_not_recorded_says_that_it_was_made() {
        let (result, made) = change_with(1);
        let failure = result.unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Unavailable);
        assert!(
            failure
                .message
                .starts_with("create r-000007: done, but only that it was intended"),
            "{failure:?}"
        );
        assert!(made);
        assert!(change_with(2).0.is_ok());
    }
}
