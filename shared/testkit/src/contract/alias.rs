use domain::ports::{Alias, AliasReader, AliasWriter};
use futures::future::join_all;

use super::assert_conflict;
use crate::build::{fresh_name, release_id};

/// What [`AliasReader`] and [`AliasWriter`] promise, over an alias of its own and releases 1 to 17.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn alias_contract(reader: &dyn AliasReader, writer: &dyn AliasWriter) {
    let name = fresh_name("alias");
    let alias = name.as_str();
    assert_eq!(
        reader.get(alias).await,
        Ok(None),
        "an alias is none before its first activation"
    );
    let early = writer.compare_and_swap(alias, 1, release_id(1)).await;
    assert_conflict(&early, "revision 1 of an alias that does not exist");
    assert_eq!(
        reader.get(alias).await,
        Ok(None),
        "a conflict changes nothing"
    );

    let first = Alias {
        release: release_id(1),
        revision: 1,
    };
    let made = writer.compare_and_swap(alias, 0, release_id(1)).await;
    assert_eq!(made, Ok(first.clone()), "revisions count from 1");
    assert_eq!(reader.get(alias).await, Ok(Some(first.clone())));
    for stale in [0, 2] {
        let result = writer.compare_and_swap(alias, stale, release_id(2)).await;
        assert_conflict(&result, "another revision");
    }
    assert_eq!(
        reader.get(alias).await,
        Ok(Some(first)),
        "a conflict changes nothing"
    );

    let swaps = (2..18).map(|number| writer.compare_and_swap(alias, 1, release_id(number)));
    let results = join_all(swaps).await;
    let won: Vec<&Alias> = results
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1, "of concurrent swaps one wins: {results:?}");
    for lost in results.iter().filter(|result| result.is_err()) {
        assert_conflict(lost, "a swap that lost");
    }
    assert_eq!(won[0].revision, 2);
    assert_eq!(
        reader.get(alias).await.as_ref(),
        Ok(&Some(won[0].clone())),
        "the winner is what is read"
    );

    // The same release again is a change like any other: its revision counts.
    let release = won[0].release;
    let again = writer.compare_and_swap(alias, 2, release).await;
    assert_eq!(
        again,
        Ok(Alias {
            release,
            revision: 3
        })
    );
}
