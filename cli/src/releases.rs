//! Releases: made of models that verify, and put live by moving an alias.

use artifact::TrustedKey;
use audit::stream::rfc3339;
use domain::ports::{Alias, ArtifactReader, Clock as _, ReleaseReader, RoutingReader, Target};
use domain::release::ReleaseFormat;
use domain::system::SystemClock;
use domain::{
    PrincipalId, Release, ReleaseId, ReleaseModel, ReleaseRole, Sha256Digest, StoreError,
};

use crate::arguments::ModelLabel;
use crate::failure::Failure;
use crate::stores::{Releases, Stores};
use crate::{progress, sealed};

/// The alias that the server follows.
pub(crate) const LIVE: &str = "live";
/// Attempts at the next id, when others create releases at the same time.
const ATTEMPTS: usize = 16;

/// Creates the next release of these models, whose signatures are verified and whose digests are pinned.
pub(crate) async fn create_release(
    stores: &Stores,
    models: Vec<(ReleaseRole, ModelLabel)>,
    created_by: PrincipalId,
) -> Result<Release, Failure> {
    let trusted = stores.trusted_model_keys().await?;
    let artifacts = stores.artifacts()?.reader;
    let releases = stores.releases()?;
    let mut pinned = Vec::with_capacity(models.len());
    for (role, label) in models {
        let digest = digest_of(artifacts.as_ref(), &trusted, &label).await?;
        let ModelLabel { name, version } = label;
        pinned.push(ReleaseModel {
            role,
            name,
            version,
            digest,
        });
    }
    let mut release = Release {
        format: ReleaseFormat::V1,
        id: next_id(releases.reader.as_ref()).await?,
        created_by,
        created_at: rfc3339(SystemClock.now_us()),
        models: pinned,
    };
    release
        .check()
        .map_err(|fault| Failure::refused("release.invalid", fault.to_string()))?;
    for _ in 0..ATTEMPTS {
        match releases.writer.create(&release).await {
            Ok(()) => return Ok(release),
            // Somebody else took the id meanwhile.
            Err(StoreError::Conflict(_)) => release.id = next_id(releases.reader.as_ref()).await?,
            Err(error) => {
                let tried = release.id.to_string();
                return Err(Failure::from(error).with("release", tried));
            }
        }
    }
    let message = "others create releases faster than this one could be created; try again";
    Err(Failure::unavailable("store.busy", message))
}

async fn next_id(releases: &dyn ReleaseReader) -> Result<ReleaseId, Failure> {
    let number = releases.newest().await?.map_or(1, |id| id.number() + 1);
    ReleaseId::from_number(number).ok_or_else(|| Failure::internal("release numbers have run out"))
}

async fn digest_of(
    artifacts: &dyn ArtifactReader,
    trusted: &[TrustedKey],
    label: &ModelLabel,
) -> Result<Sha256Digest, Failure> {
    let files = sealed::read_stored(artifacts, label).await?;
    let verified = sealed::verify_model(&files, label, trusted)
        .map_err(|failure| failure.while_doing(label).at(label.to_string()))?;
    Ok(verified.digest())
}

/// The release, which must exist.
pub(crate) async fn find_release(
    releases: &dyn ReleaseReader,
    id: ReleaseId,
) -> Result<Release, Failure> {
    releases.get(id).await.map_err(|error| match error {
        StoreError::NotFound(_) => {
            Failure::not_found("store.not_found", format!("there is no release {id}"))
                .at(id.to_string())
        }
        error => error.into(),
    })
}

/// Which versions of a function serve; none where there is no function.
pub(crate) async fn find_targets(
    routing: Option<&dyn RoutingReader>,
) -> Result<Vec<Target>, Failure> {
    match routing {
        Some(routing) => Ok(routing.routing(LIVE).await?.targets),
        None => Ok(Vec::new()),
    }
}

/// What serves after an activation.
pub(crate) struct Activated {
    pub(crate) release: Release,
    pub(crate) alias: Alias,
}

/// Points `live` to the release, once each of its models verifies and still has the digest that was pinned.
/// `expected` is the alias's revision that the caller saw; without it, the one that is found now.
pub(crate) async fn activate_release(
    stores: &Stores,
    id: ReleaseId,
    expected: Option<u64>,
) -> Result<Activated, Failure> {
    let releases = stores.releases()?;
    let before = releases.alias_reader.get(LIVE).await?;
    let found = before.as_ref().map_or(0, |alias| alias.revision);
    let expected = expected.unwrap_or(found);
    if expected != found {
        return Err(describe_conflict(id, expected, before.as_ref(), None));
    }
    let release = find_release(releases.reader.as_ref(), id).await?;
    let trusted = stores.trusted_model_keys().await?;
    let artifacts = stores.artifacts()?.reader;
    for model in &release.models {
        let label = ModelLabel {
            name: model.name.clone(),
            version: model.version.clone(),
        };
        let digest = digest_of(artifacts.as_ref(), &trusted, &label).await?;
        if digest != model.digest {
            let pinned = model.digest;
            let message = format!("{label}: expected digest {pinned} as {id} pins, found {digest}");
            return Err(Failure::refused("release.digest_mismatch", message).at(label.to_string()));
        }
    }
    let alias = move_alias(&releases, expected, id).await?;
    Ok(Activated { release, alias })
}

async fn move_alias(releases: &Releases, expected: u64, id: ReleaseId) -> Result<Alias, Failure> {
    let _shown = progress::show(match releases.routing {
        Some(_) => format!("publishing a version of the function with {id}"),
        None => format!("activating {id}"),
    });
    let moved = releases.alias_writer.compare_and_swap(LIVE, expected, id);
    match moved.await {
        Ok(alias) => Ok(alias),
        Err(StoreError::Conflict(reason)) => {
            let now = releases.alias_reader.get(LIVE).await?;
            Err(describe_conflict(id, expected, now.as_ref(), Some(&reason)))
        }
        // It may have been applied: what is there now decides.
        Err(StoreError::OutcomeUnknown(reason)) => {
            let found = match releases.alias_reader.get(LIVE).await {
                Ok(Some(alias)) if alias.release == id && alias.revision == expected + 1 => {
                    return Ok(alias);
                }
                Ok(now) => describe_found(now.as_ref()),
                Err(error) => format!("what is live cannot be read ({error})"),
            };
            let message = format!(
                "whether {id} went live is not known ({reason}); {found}: see `sealcast release show`, then activate \
                 again"
            );
            Err(Failure::unavailable("store.outcome_unknown", message))
        }
        Err(error) => Err(error.into()),
    }
}

fn describe_found(alias: Option<&Alias>) -> String {
    match alias {
        Some(alias) => format!(
            "revision {} is live, which is {}",
            alias.revision, alias.release
        ),
        None => "no release was ever activated".to_owned(),
    }
}

/// Why the alias was not moved, and how to go on.
fn describe_conflict(
    id: ReleaseId,
    expected: u64,
    found: Option<&Alias>,
    reason: Option<&str>,
) -> Failure {
    let revision = found.map_or(0, |alias| alias.revision);
    let message = if revision == expected {
        // The alias is as it was: something else about the function changed while the release was activated.
        format!(
            "{id} is not live: somebody else changes or activates at the same time ({}); wait for them, then \
             `sealcast release activate {id} --expected-revision {expected}`",
            reason.unwrap_or("no reason was given")
        )
    } else {
        format!(
            "{id} is not live: expected revision {expected} of the alias `{LIVE}`, but {}: somebody else activated \
             meanwhile; if {id} shall take its place: `sealcast release activate {id} --expected-revision {revision}`",
            describe_found(found)
        )
    };
    let failure = Failure::refused("store.conflict", message)
        .with("expected_revision", expected)
        .with("revision", revision);
    match found {
        Some(alias) => failure.with("live", alias.release.to_string()),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use domain::ports::{AliasReader, AliasWriter, ReleaseWriter};
    use std::sync::{Arc, Mutex};

    fn release_id(number: u64) -> ReleaseId {
        ReleaseId::from_number(number).unwrap()
    }

    /// An alias whose writer answers what it is told to, after `meanwhile` has become the alias.
    struct Moved {
        alias: Mutex<Option<Alias>>,
        meanwhile: Option<Alias>,
        /// Why the alias cannot be read.
        unread: Option<StoreError>,
        answer: StoreError,
    }

    #[async_trait]
    impl AliasReader for Moved {
        async fn get(&self, _: &str) -> Result<Option<Alias>, StoreError> {
            match &self.unread {
                Some(error) => Err(error.clone()),
                None => Ok(self.alias.lock().unwrap().clone()),
            }
        }
    }

    #[async_trait]
    impl AliasWriter for Moved {
        async fn compare_and_swap(
            &self,
            _: &str,
            _: u64,
            _: ReleaseId,
        ) -> Result<Alias, StoreError> {
            *self.alias.lock().unwrap() = self.meanwhile.clone();
            Err(self.answer.clone())
        }
    }

    #[async_trait]
    impl ReleaseReader for Moved {
        async fn get(&self, id: ReleaseId) -> Result<Release, StoreError> {
            Err(StoreError::NotFound(id.to_string()))
        }
        async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
            Ok(None)
        }
    }

    #[async_trait]
    impl ReleaseWriter for Moved {
        async fn create(&self, _: &Release) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn activate(meanwhile: Option<(u64, u64)>, answer: StoreError) -> Result<Alias, Failure> {
        activate_unread(meanwhile, answer, None)
    }

    fn activate_unread(
        meanwhile: Option<(u64, u64)>,
        answer: StoreError,
        unread: Option<StoreError>,
    ) -> Result<Alias, Failure> {
        let alias = |(release, revision)| Alias {
            release: release_id(release),
            revision,
        };
        let moved = Arc::new(Moved {
            alias: Mutex::new(Some(alias((1, 4)))),
            meanwhile: meanwhile.map(alias),
            unread,
            answer,
        });
        let releases = Releases {
            reader: moved.clone(),
            writer: moved.clone(),
            alias_reader: moved.clone(),
            alias_writer: moved,
            routing: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime
            .unwrap()
            .block_on(move_alias(&releases, 4, release_id(3)))
    }

    #[test]
    fn a_conflict_says_who_is_live_and_how_to_go_on() {
        let conflict = || StoreError::Conflict("the function was changed".to_owned());
        let failure = activate(Some((2, 5)), conflict()).unwrap_err();
        assert_eq!(failure.code, "store.conflict");
        assert_eq!(failure.details["live"], "r-000002");
        assert_eq!(failure.details["revision"], 5);
        assert!(
            failure
                .message
                .contains("revision 5 is live, which is r-000002")
        );
        assert!(
            failure
                .message
                .contains("activate r-000003 --expected-revision 5")
        );
        let failure = activate(Some((1, 4)), conflict()).unwrap_err();
        assert!(
            failure.message.contains("(the function was changed)"),
            "{failure:?}"
        );
        assert!(
            failure
                .message
                .contains("activate r-000003 --expected-revision 4")
        );
    }

    #[test]
    fn an_unknown_outcome_is_decided_by_what_is_live() {
        let unknown = || StoreError::OutcomeUnknown("no reply".to_owned());
        let alias = activate(Some((3, 5)), unknown()).unwrap();
        assert_eq!((alias.release, alias.revision), (release_id(3), 5));
        for other in [Some((1, 4)), Some((2, 5)), Some((3, 6)), None] {
            let failure = activate(other, unknown()).unwrap_err();
            assert_eq!(failure.code, "store.outcome_unknown", "{other:?}");
        }
        let unread = Some(StoreError::Unavailable("no answer".to_owned()));
        let failure = activate_unread(Some((3, 5)), unknown(), unread).unwrap_err();
        assert_eq!(failure.code, "store.outcome_unknown");
        assert!(failure.message.contains("no answer"), "{failure:?}");
    }
}
