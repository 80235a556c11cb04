//! What a command does to releases is recorded in a stream of its own: that it will be done, before anything is changed,
//! and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::EventBody;
use audit::event::{ProcessStarted, ProcessStopped, ReleaseChange, ReleasedModel, Security};
use domain::recorder::NotRecordedError;
use domain::system::{SystemClock, SystemEntropy};
use domain::{PrincipalId, Recorder, Release, ReleaseRole};
use serde_json::Value;

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
/// Where the intention is not durable, nothing is done. Where what came of it is not, the failure says so, and what was
/// done all the same.
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
        (Err(mut failure), Err(lost)) => {
            failure.message = format!("{}; {}", failure.message, lost.message);
            Err(failure)
        }
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
                // The one that was tried.
                let tried = failure.details.get("release").and_then(Value::as_str);
                if unknown && let Some(tried) = tried {
                    change.release = Some(tried.to_owned());
                }
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
            let ReleaseChange {
                action,
                outcome,
                release,
                ..
            } = &self.change;
            let release = release.as_deref().unwrap_or("of a new release");
            let what =
                format!("{action} {release}: {outcome}, but only that it was intended is recorded");
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
    #[derive(Default)]
    struct Takes {
        left: Mutex<usize>,
        taken: Mutex<Vec<Record>>,
    }

    #[async_trait::async_trait]
    impl AuditAppender for Takes {
        async fn register(&self, _: &SignedRegistration) -> Result<(), StoreError> {
            Ok(())
        }
        fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
            let mut left = self.left.lock().unwrap();
            let Some(rest) = left.checked_sub(1) else {
                let refused = Err(StoreError::Unavailable("no room".to_owned()));
                return Box::pin(std::future::ready(refused));
            };
            *left = rest;
            self.taken.lock().unwrap().extend(records);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// What comes of a change that itself ends so, where so many appends are taken; whether it was begun; and the kinds
    /// and data of what was recorded.
    fn change(
        appends: usize,
        answer: Result<(), Failure>,
    ) -> (Result<Release, Failure>, bool, Vec<(String, Value)>) {
        let temp = tempfile::tempdir().unwrap();
        LocalKeys::create(temp.path()).unwrap();
        let signer: Arc<dyn Signer> = LocalKeys::open(temp.path()).unwrap().stream_signer();
        let appender = Arc::new(Takes {
            left: Mutex::new(appends),
            ..Takes::default()
        });
        let place = Recording {
            appender: appender.clone(),
            signer,
            host: "cli/1".to_owned(),
        };
        let principal = PrincipalId::parse("anna").unwrap();
        let mut begun = false;
        let work = async {
            begun = true;
            answer.map(|()| Release {
                format: domain::release::ReleaseFormat::V1,
                id: domain::ReleaseId::from_number(7).unwrap(),
                created_by: principal.clone(),
                created_at: "2026-01-01T00:00:00Z".to_owned(),
                models: Vec::new(),
            })
        };
        let change = intended("create", &principal);
        let place = std::future::ready(Ok(place));
        let done = recorded(place, change, work, |release| Done {
            release,
            revision: None,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let result = runtime.unwrap().block_on(done);
        let told = |record: &Record| {
            let entry: Value = serde_json::from_slice(&record.entry).unwrap();
            (
                entry["kind"].as_str().unwrap().to_owned(),
                entry["data"].clone(),
            )
        };
        let events = appender.taken.lock().unwrap().iter().map(told).collect();
        (result, begun, events)
    }

    #[test]
    fn nothing_is_changed_before_the_intention_is_durable() {
        let (result, begun, _) = change(0, Ok(()));
        let failure = result.unwrap_err();
        assert_eq!(failure.code, "store.unavailable");
        assert!(
            failure.message.starts_with("nothing was changed"),
            "{failure:?}"
        );
        assert!(!begun);
    }

    #[test]
    fn a_change_whose_outcome_is_not_recorded_says_that_it_was_made() {
        let (result, begun, events) = change(1, Ok(()));
        let failure = result.unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Unavailable);
        let says = "create r-000007: done, but only that it was intended";
        assert!(failure.message.starts_with(says), "{failure:?}");
        assert!(begun);
        assert_eq!(events.len(), 2);
        let (result, _, events) = change(2, Ok(()));
        assert!(result.is_ok());
        assert_eq!(events[2].1["outcome"], "done");
        assert_eq!(events[2].1["release"], "r-000007");
    }

    #[test]
    fn a_failure_that_is_not_recorded_says_both() {
        let failed = || Failure::refused("artifact.digest_mismatch", "another file").at("a@1.0.0");
        let (result, _, events) = change(1, Err(failed()));
        let failure = result.unwrap_err();
        assert_eq!(failure.code, "artifact.digest_mismatch");
        let says = "another file; create of a new release: failed, but only that it was intended";
        assert!(failure.message.starts_with(says), "{failure:?}");
        assert_eq!(events.len(), 2);
        let (result, _, events) = change(2, Err(failed()));
        assert_eq!(result.unwrap_err(), failed());
        let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        let expected = [
            "process_started",
            "release",
            "release",
            "security",
            "process_stopped",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(events[3].1["subject"], "a@1.0.0");
    }

    #[test]
    fn what_the_store_leaves_open_is_recorded_as_unknown_with_the_release_that_was_tried() {
        let open = Failure::unavailable("store.outcome_unknown", "no reply");
        let (_, _, events) = change(2, Err(open.with("release", "r-000008")));
        assert_eq!(events[2].1["outcome"], "unknown");
        assert_eq!(events[2].1["release"], "r-000008");
    }
}
