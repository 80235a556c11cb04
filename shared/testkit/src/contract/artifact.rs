use domain::ports::{ArtifactFiles, ArtifactReader, ArtifactWriter, LoadableFiles, ModelContainer};
use domain::{ModelName, ModelVersion, StoreError};
use futures::future::{join, join_all};

use super::{assert_conflict, assert_not_found};
use crate::build::{artifact_files, fresh_name, version};

/// What [`ArtifactReader`] and [`ArtifactWriter`] promise, over models of its own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn artifact_contract(reader: &dyn ArtifactReader, writer: &dyn ArtifactWriter) {
    let (name, files) = (fresh_name("contract"), artifact_files("a"));
    let first = version("1.9.0");
    assert_not_found(
        &reader.read(&name, &first).await,
        "a model that nobody created",
    );
    assert_eq!(
        reader.versions(&name).await,
        Ok(Vec::new()),
        "a model that nobody created has no versions"
    );

    assert_eq!(writer.create(&name, &first, &files).await, Ok(()));
    assert_eq!(
        reader.read(&name, &first).await.as_ref(),
        Ok(&files),
        "what is read is what was created"
    );
    assert_eq!(
        writer.create(&name, &first, &files).await,
        Ok(()),
        "the same files again are a success"
    );
    assert_not_found(
        &reader.read(&name, &version("1.9.1")).await,
        "a version that nobody created",
    );

    for (what, other) in changed(&files) {
        assert_conflict(&writer.create(&name, &first, &other).await, what);
        assert_eq!(
            reader.read(&name, &first).await.as_ref(),
            Ok(&files),
            "a conflict changes nothing"
        );
    }

    for later in ["2.0.0-rc.1", "1.10.0", "2.0.0", "1.9.0-rc.1"] {
        assert_eq!(
            writer
                .create(&name, &version(later), &artifact_files(later))
                .await,
            Ok(())
        );
    }
    let ascending = ["1.9.0-rc.1", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0"].map(version);
    assert_eq!(
        reader.versions(&name).await,
        Ok(ascending.to_vec()),
        "versions ascend"
    );

    let missing = writer
        .replace_sidecar(&name, &version("3.0.0"), b"new")
        .await;
    assert_not_found(&missing, "the sidecar of a version that does not exist");
    assert_not_found(
        &reader.read(&name, &version("3.0.0")).await,
        "a sidecar alone is no version",
    );
    assert_eq!(writer.replace_sidecar(&name, &first, b"new").await, Ok(()));
    let rewrapped = ArtifactFiles {
        sidecar: b"new".to_vec(),
        ..files
    };
    assert_eq!(
        reader.read(&name, &first).await,
        Ok(rewrapped),
        "the sidecar is replaced and nothing else"
    );

    check_packed(reader, writer).await;
    check_rivals(reader, writer).await;
}

/// Models with and without a packed form.
async fn check_packed(reader: &dyn ArtifactReader, writer: &dyn ArtifactWriter) {
    let (name, first, second) = (fresh_name("packed"), version("1.0.0"), version("2.0.0"));
    assert_not_found(
        &reader.read_loadable(&name, &first).await,
        "a model that nobody created",
    );
    let without = artifact_files("without");
    let with = ArtifactFiles {
        packed: Some(b"packed ".repeat(500)),
        ..artifact_files("with")
    };
    for (version, files) in [(&first, &without), (&second, &with)] {
        assert_eq!(writer.create(&name, version, files).await, Ok(()));
        assert_eq!(reader.read(&name, version).await.as_ref(), Ok(files));
        let container = match &files.packed {
            Some(packed) => ModelContainer::Packed(packed.clone()),
            None => ModelContainer::Onnx(files.sealed.clone()),
        };
        let loadable = LoadableFiles {
            manifest: files.manifest.clone(),
            container,
            bundle: files.bundle.clone(),
            sidecar: files.sidecar.clone(),
        };
        assert_eq!(
            reader.read_loadable(&name, version).await,
            Ok(loadable),
            "what is loaded is the packed form, where there is one"
        );
    }
    for (version, other) in [
        (
            &first,
            ArtifactFiles {
                packed: Some(b"other".to_vec()),
                ..without.clone()
            },
        ),
        (
            &second,
            ArtifactFiles {
                packed: Some(b"other".to_vec()),
                ..with.clone()
            },
        ),
        (
            &second,
            ArtifactFiles {
                packed: None,
                ..with.clone()
            },
        ),
    ] {
        assert_conflict(
            &writer.create(&name, version, &other).await,
            "another packed form, or one where there was none",
        );
    }
}

/// The same files but one, for each of the four.
fn changed(files: &ArtifactFiles) -> [(&'static str, ArtifactFiles); 4] {
    let other = || b"other".to_vec();
    [
        (
            "another manifest",
            ArtifactFiles {
                manifest: other(),
                ..files.clone()
            },
        ),
        (
            "another container",
            ArtifactFiles {
                sealed: other(),
                ..files.clone()
            },
        ),
        (
            "another bundle",
            ArtifactFiles {
                bundle: other(),
                ..files.clone()
            },
        ),
        (
            "another sidecar",
            ArtifactFiles {
                sidecar: other(),
                ..files.clone()
            },
        ),
    ]
}

async fn check_rivals(reader: &dyn ArtifactReader, writer: &dyn ArtifactWriter) {
    let (name, version) = (fresh_name("rivals"), version("1.0.0"));
    let rivals: Vec<ArtifactFiles> = (0..8)
        .map(|number| artifact_files(&format!("rival {number}")))
        .collect();
    let creating = join_all(
        rivals
            .iter()
            .map(|files| writer.create(&name, &version, files)),
    );
    let reading = join_all((0..32).map(|_| read_whole(reader, &name, &version, &rivals)));
    let (results, _) = join(creating, reading).await;
    let winners: Vec<_> = results
        .iter()
        .zip(&rivals)
        .filter(|(result, _)| result.is_ok())
        .collect();
    assert_eq!(
        winners.len(),
        1,
        "of rivals for a version one wins: {results:?}"
    );
    for lost in results.iter().filter(|result| result.is_err()) {
        assert_conflict(lost, "a rival that lost");
    }
    assert_eq!(
        reader.read(&name, &version).await.as_ref(),
        Ok(winners[0].1),
        "the winner is what is read"
    );
}

/// Reads a version that is being created: all of it or nothing.
async fn read_whole(
    reader: &dyn ArtifactReader,
    name: &ModelName,
    version: &ModelVersion,
    rivals: &[ArtifactFiles],
) {
    match reader.read(name, version).await {
        Ok(files) => assert!(
            rivals.contains(&files),
            "files of several rivals were mixed"
        ),
        Err(StoreError::NotFound(_)) => {}
        Err(error) => {
            panic!("while a version is created it is whole or not found, found {error:?}")
        }
    }
}
