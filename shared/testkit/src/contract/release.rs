use domain::ports::{ReleaseReader, ReleaseWriter};
use futures::future::join_all;

use super::{assert_conflict, assert_not_found};
use crate::build::{release, release_id};

/// What [`ReleaseReader`] and [`ReleaseWriter`] promise; creates three releases after the newest.
/// Nobody else may create releases meanwhile.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn release_contract(reader: &dyn ReleaseReader, writer: &dyn ReleaseWriter) {
    let newest = reader.newest().await.expect("newest");
    let next = newest.map_or(1, |id| id.number() + 1);
    assert_not_found(
        &reader.get(release_id(next)).await,
        "a release that nobody created",
    );

    let gap = writer.create(&release(next + 1)).await;
    assert_conflict(&gap, "an id that leaves a gap");
    assert_not_found(
        &reader.get(release_id(next + 1)).await,
        "a release that was refused",
    );
    assert_eq!(
        reader.newest().await,
        Ok(newest),
        "a conflict changes nothing"
    );

    let first = release(next);
    assert_eq!(writer.create(&first).await, Ok(()));
    assert_eq!(
        reader.get(first.id).await.as_ref(),
        Ok(&first),
        "what is read is what was created"
    );
    assert_eq!(reader.newest().await, Ok(Some(first.id)));
    assert_eq!(
        writer.create(&first).await,
        Ok(()),
        "the same release again is a success"
    );

    let mut other = first.clone();
    "2026-01-02T00:00:00Z".clone_into(&mut other.created_at);
    assert_conflict(&writer.create(&other).await, "an id that is taken");
    assert_eq!(
        reader.get(first.id).await.as_ref(),
        Ok(&first),
        "a conflict changes nothing"
    );

    let rivals: Vec<_> = (0..8)
        .map(|number| {
            let mut rival = release(next + 1);
            rival.created_at = format!("2026-01-01T00:00:0{number}Z");
            rival
        })
        .collect();
    let results = join_all(rivals.iter().map(|rival| writer.create(rival))).await;
    let winners: Vec<_> = results
        .iter()
        .zip(&rivals)
        .filter(|(result, _)| result.is_ok())
        .collect();
    assert_eq!(
        winners.len(),
        1,
        "of rivals for an id one wins: {results:?}"
    );
    for lost in results.iter().filter(|result| result.is_err()) {
        assert_conflict(lost, "a rival that lost");
    }
    assert_eq!(
        reader.get(release_id(next + 1)).await.as_ref(),
        Ok(winners[0].1)
    );

    assert_eq!(writer.create(&release(next + 2)).await, Ok(()));
    assert_eq!(
        writer.create(&first).await,
        Ok(()),
        "the same release again, after newer ones"
    );
    assert_eq!(reader.newest().await, Ok(Some(release_id(next + 2))));
}
