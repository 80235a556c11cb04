//! What a server's health looks at: each part of a data directory is missed when it goes, and found when it is back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::StoreError;
use domain::ports::{Alias, Target};
use store_embedded::{EmbeddedStore, LocalKeys, SERVER_VERSION};
use testkit::build::release_id;

struct Opened {
    store: EmbeddedStore,
    data: tempfile::TempDir,
}

fn open() -> Opened {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    Opened { store, data }
}

impl Opened {
    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    async fn check(&self, name: &str) -> Result<(), StoreError> {
        let dependencies = self.store.dependencies();
        let found = dependencies.iter().find(|it| it.name() == name).unwrap();
        found.check().await
    }

    async fn assert_all_sound(&self) {
        for dependency in self.store.dependencies() {
            assert_eq!(dependency.check().await, Ok(()), "{}", dependency.name());
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a file or folder aside while `work` runs.
async fn without<T>(path: &Path, work: impl Future<Output = T>) -> T {
    let aside = path.with_extension("aside");
    std::fs::rename(path, &aside).unwrap();
    let result = work.await;
    std::fs::rename(&aside, path).unwrap();
    result
}

#[tokio::test]
async fn a_data_directory_that_is_well_is_found_so_and_left_as_it_was() {
    let opened = open();
    let listed = || {
        let mut names: Vec<_> = std::fs::read_dir(opened.data.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = listed();
    let names: Vec<_> = opened
        .store
        .dependencies()
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    assert_eq!(names, ["data", "claims", "keys"]);
    opened.assert_all_sound().await;
    assert_eq!(listed(), before);
}

#[tokio::test]
async fn every_folder_that_goes_is_missed_by_name() {
    let opened = open();
    for folder in ["aliases", "artifacts", "audit", "keys", "releases"] {
        let path = opened.path(folder);
        let found = without(&path, opened.check("data")).await;
        let Err(StoreError::NotFound(what)) = found else {
            panic!("{folder}: {found:?}");
        };
        assert_eq!(what, path.display().to_string());
    }
    opened.assert_all_sound().await;
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_no_folder() {
    let opened = open();
    let path = opened.path("releases");
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let found = opened.check("data").await;
    assert!(matches!(found, Err(StoreError::NotFound(_))), "{found:?}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_unavailable() {
    let opened = open();
    // A folder in the probe's place is refused to everybody, also to root, whom no mode stops.
    std::fs::create_dir(opened.path(".writable")).unwrap();
    let found = opened.check("data").await;
    assert!(
        matches!(found, Err(StoreError::Unavailable(_))),
        "{found:?}"
    );
    std::fs::remove_dir(opened.path(".writable")).unwrap();
    // What a killed process left of its probe is no obstacle.
    std::fs::write(opened.path(".writable"), "half").unwrap();
    opened.assert_all_sound().await;
    assert!(!opened.path(".writable").exists());
}

#[tokio::test]
async fn a_database_that_was_removed_replaced_or_closed_is_noticed() {
    let opened = open();
    let path = opened.path("state.redb");
    let found = without(&path, opened.check("claims")).await;
    assert!(matches!(found, Err(StoreError::NotFound(_))), "{found:?}");
    opened.assert_all_sound().await;

    let copy = opened.path("copy.redb");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let found = opened.check("claims").await;
    assert!(matches!(found, Err(StoreError::NotFound(_))), "{found:?}");

    let opened = open();
    opened.store.close();
    let found = opened.check("claims").await;
    assert!(
        matches!(found, Err(StoreError::Unavailable(_))),
        "{found:?}"
    );
}

#[tokio::test]
async fn keys_that_go_are_gone_and_other_keys_are_not_those_that_were_opened() {
    let opened = open();
    for file in [
        "stream-registration.pem",
        "model-signing.pem",
        "master-0001.json",
    ] {
        let path = opened.path("keys").join(file);
        let found = without(&path, opened.check("keys")).await;
        assert!(
            matches!(found, Err(StoreError::NotFound(_))),
            "{file}: {found:?}"
        );
    }
    opened.assert_all_sound().await;

    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("keys");
    LocalKeys::create(&other).unwrap();
    for (files, missing) in [
        (
            &["stream-registration.pem", "stream-registration.pub.pem"][..],
            "stream-registration key",
        ),
        (
            &["model-signing.pem", "model-signing.pub.pem"],
            "model-signing key",
        ),
        (&["master-0001.json"], "master key"),
    ] {
        let opened = open();
        for file in files {
            std::fs::copy(other.join(file), opened.path("keys").join(file)).unwrap();
        }
        let found = opened.check("keys").await;
        let Err(StoreError::Corrupt(text)) = &found else {
            panic!("{files:?}: {found:?}");
        };
        assert!(text.contains(missing), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_others_may_read_or_that_is_damaged_is_not_what_it_was() {
    let opened = open();
    let path = opened.path("keys/stream-registration.pem");
    set_mode(&path, 0o644);
    let found = opened.check("keys").await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
    set_mode(&path, 0o600);
    opened.assert_all_sound().await;
    std::fs::write(&path, "no key").unwrap();
    let found = opened.check("keys").await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
}

#[tokio::test]
async fn a_master_key_that_was_added_does_no_harm() {
    let opened = open();
    LocalKeys::add_master_key(&opened.path("keys")).unwrap();
    opened.assert_all_sound().await;
}

#[tokio::test]
async fn all_requests_of_an_alias_go_to_the_server_that_follows_it() {
    let opened = open();
    let reader = opened.store.routing_reader();
    let routing = reader.routing("live").await.unwrap();
    assert_eq!(routing.alias, None, "before the first activation");
    let writer = opened.store.alias_writer();
    writer
        .compare_and_swap("live", 0, release_id(1))
        .await
        .unwrap();
    let routing = reader.routing("live").await.unwrap();
    let alias = Alias {
        release: release_id(1),
        revision: 1,
    };
    assert_eq!(routing.alias, Some(alias));
    let target = Target {
        version: SERVER_VERSION.to_owned(),
        weight: 1.0,
    };
    assert_eq!(routing.targets, [target]);

    std::fs::write(opened.path("aliases/live.json"), "{").unwrap();
    let damaged = reader.routing("live").await;
    assert!(
        matches!(damaged, Err(StoreError::Corrupt(_))),
        "{damaged:?}"
    );
}
