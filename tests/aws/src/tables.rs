//! The tables, with the keys and indexes that `template.yaml` gives them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};

use crate::emulators::Emulator;
use crate::fixtures::fresh;

/// The audit table's indexes: name and prefix of their keys.
pub const AUDIT_INDEXES: [(&str, &str); 4] = [
    ("time", "t"),
    ("symbol", "y"),
    ("model", "m"),
    ("request", "r"),
];

/// Creates a registry table; gives its name.
pub async fn create_registry(emulator: Emulator) -> String {
    create(emulator, "registry", &[]).await
}

/// Creates a table of requests; gives its name.
pub async fn create_requests(emulator: Emulator) -> String {
    create(emulator, "requests", &[]).await
}

/// Creates a table of a log's lock and index; gives its name.
pub async fn create_log(emulator: Emulator) -> String {
    create(emulator, "log", &[]).await
}

/// Creates an audit table with its four indexes; gives its name.
pub async fn create_audit(emulator: Emulator) -> String {
    create(emulator, "audit", &AUDIT_INDEXES).await
}

/// The client of an emulator's tables.
pub async fn client(emulator: Emulator) -> Client {
    Client::new(&emulator.config().await)
}

/// Removes a table, as if it had never been.
///
/// # Panics
/// Where the emulator refuses.
pub async fn remove(emulator: Emulator, table: &str) {
    let client = client(emulator).await;
    let removed = client.delete_table().table_name(table).send().await;
    removed.expect("a table that can be removed");
}

async fn create(emulator: Emulator, prefix: &str, indexes: &[(&str, &str)]) -> String {
    let name = fresh(prefix);
    let mut create = client(emulator)
        .await
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range));
    for (index, prefix) in indexes {
        let (partition, sort) = (format!("{prefix}_pk"), format!("{prefix}_sk"));
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .non_key_attributes("kind")
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(*index)
            .key_schema(key(&partition, KeyType::Hash))
            .key_schema(key(&sort, KeyType::Range))
            .projection(projection)
            .build()
            .expect("an index");
        create = create
            .attribute_definitions(attribute(&partition))
            .attribute_definitions(attribute(&sort))
            .global_secondary_indexes(index);
    }
    create.send().await.expect("a table");
    name
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("an attribute")
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .expect("a key")
}
