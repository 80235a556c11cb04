//! Releases: made of models that verify, and put live by moving an alias.

use audit::stream::rfc3339;
use domain::ports::{Alias, AliasReader, AliasWriter as _, ArtifactReader as _, Clock as _};
use domain::ports::{ReleaseReader, ReleaseWriter as _};
use domain::release::ReleaseFormat;
use domain::system::SystemClock;
use domain::{
    PrincipalId, Release, ReleaseId, ReleaseModel, ReleaseRole, Sha256Digest, StoreError,
};
use store_embedded::{FileArtifacts, FileReleases, LocalKeys};

use crate::arguments::ModelLabel;
use crate::failure::Failure;
use crate::sealed;

/// The alias that the server follows.
pub(crate) const LIVE: &str = "live";
/// Attempts at the next id, when others create releases at the same time.
const ATTEMPTS: usize = 16;

/// The stores that a release needs.
pub(crate) struct Stores {
    pub(crate) artifacts: FileArtifacts,
    pub(crate) releases: FileReleases,
    pub(crate) keys: LocalKeys,
}

/// Creates the next release of these models, whose signatures are verified and whose digests are pinned.
pub(crate) async fn create_release(
    stores: &Stores,
    models: Vec<(ReleaseRole, ModelLabel)>,
    created_by: PrincipalId,
) -> Result<Release, Failure> {
    let mut pinned = Vec::with_capacity(models.len());
    for (role, label) in models {
        let digest = digest_of(stores, &label).await?;
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
        id: next_id(&stores.releases).await?,
        created_by,
        created_at: rfc3339(SystemClock.now_us()),
        models: pinned,
    };
    release
        .check()
        .map_err(|fault| Failure::refused("release.invalid", fault.to_string()))?;
    for _ in 0..ATTEMPTS {
        match stores.releases.create(&release).await {
            Ok(()) => return Ok(release),
            // Somebody else took the id meanwhile.
            Err(StoreError::Conflict(_)) => release.id = next_id(&stores.releases).await?,
            Err(error) => return Err(error.into()),
        }
    }
    let message = "others create releases faster than this one could be created; try again";
    Err(Failure::unavailable("store.busy", message))
}

async fn next_id(releases: &FileReleases) -> Result<ReleaseId, Failure> {
    let number = releases.newest().await?.map_or(1, |id| id.number() + 1);
    ReleaseId::from_number(number).ok_or_else(|| Failure::internal("release numbers have run out"))
}

async fn digest_of(stores: &Stores, label: &ModelLabel) -> Result<Sha256Digest, Failure> {
    let blame = |failure: Failure| failure.while_doing(label).at(label.to_string());
    let files = stores
        .artifacts
        .read(&label.name, &label.version)
        .await
        .map_err(|error| match error {
            StoreError::NotFound(_) => {
                let message = format!("{label} is not in the store; push it first");
                Failure::not_found("store.not_found", message).at(label.to_string())
            }
            error => blame(error.into()),
        })?;
    let verified = sealed::verify_model(&files, label, &stores.keys).map_err(blame)?;
    Ok(verified.digest())
}

/// What is known of the alias `live`.
pub(crate) async fn find_live(releases: &FileReleases) -> Result<Option<Alias>, Failure> {
    Ok(AliasReader::get(releases, LIVE).await?)
}

/// The release, which must exist.
pub(crate) async fn find_release(
    releases: &FileReleases,
    id: ReleaseId,
) -> Result<Release, Failure> {
    ReleaseReader::get(releases, id)
        .await
        .map_err(|error| match error {
            StoreError::NotFound(_) => {
                Failure::not_found("store.not_found", format!("there is no release {id}"))
                    .at(id.to_string())
            }
            error => error.into(),
        })
}

/// Points `live` to the release, once each of its models verifies and still has the digest that was pinned.
/// `expected` is the alias's revision that the caller saw; without it, the one that is found now.
pub(crate) async fn activate_release(
    stores: &Stores,
    id: ReleaseId,
    expected: Option<u64>,
) -> Result<(Release, Alias), Failure> {
    let before = find_live(&stores.releases).await?;
    let found = before.map_or(0, |alias| alias.revision);
    let release = find_release(&stores.releases, id).await?;
    for model in &release.models {
        let label = ModelLabel {
            name: model.name.clone(),
            version: model.version.clone(),
        };
        let digest = digest_of(stores, &label).await?;
        if digest != model.digest {
            let pinned = model.digest;
            let message = format!("{label}: expected digest {pinned} as {id} pins, found {digest}");
            return Err(Failure::refused("release.digest_mismatch", message).at(label.to_string()));
        }
    }
    let alias = stores
        .releases
        .compare_and_swap(LIVE, expected.unwrap_or(found), id)
        .await?;
    Ok((release, alias))
}
