use domain::ports::{Alias, AliasWriter, Routing, RoutingReader};

use super::assert_not_found;
use crate::build::{fresh_name, release_id};

/// What [`RoutingReader`] promises for an alias that [`AliasWriter`] moves, over an alias of its own and releases 1
/// to 2.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn routing_contract(reader: &dyn RoutingReader, writer: &dyn AliasWriter) {
    let name = fresh_name("routing");
    let alias = name.as_str();
    assert_not_found(&reader.routing(alias).await, "an alias that does not exist");
    let first = writer.compare_and_swap(alias, 0, release_id(1)).await;
    let first = read(reader, alias, first.expect("an activation")).await;
    let second = writer.compare_and_swap(alias, 1, release_id(2)).await;
    let second = read(reader, alias, second.expect("an activation")).await;
    assert_ne!(
        first.targets[0].version, second.targets[0].version,
        "another release is another version"
    );
}

/// The routing of an alias that was just moved: everything goes to one version.
async fn read(reader: &dyn RoutingReader, alias: &str, moved: Alias) -> Routing {
    let routing = reader.routing(alias).await.expect("a routing");
    assert_eq!(routing.alias, Some(moved), "it names what serves");
    let weights: Vec<f64> = routing.targets.iter().map(|target| target.weight).collect();
    assert_eq!(weights, [1.0], "one version takes every request");
    routing
}
