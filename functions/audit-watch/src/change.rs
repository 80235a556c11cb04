//! One change of a row, as `DynamoDB` Streams hands it to Lambda.

use std::collections::BTreeMap;

use audit::LeafHash;
use audit::canonical::leaf_hash;
use audit::event::Security;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Who removes rows whose time is over.
const EXPIRY: &str = "dynamodb.amazonaws.com";

/// A change of a row of the audit table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    event_name: Kind,
    #[serde(default)]
    user_identity: Option<Identity>,
    dynamodb: Images,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Insert,
    Modify,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    #[serde(default)]
    principal_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    keys: Row,
    #[serde(default)]
    old_image: Row,
    #[serde(default)]
    new_image: Row,
    sequence_number: String,
}

/// Attributes by name, each with its type.
type Row = BTreeMap<String, Value>;

/// A change that is not of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableChange {
    /// Its number in the table's stream, where it says one.
    pub sequence_number: Option<String>,
    /// What was expected.
    pub reason: String,
}

impl Change {
    /// Reads one record of an event.
    ///
    /// # Errors
    /// [`UnreadableChange`] where it is no change of a row with text keys `pk` and `sk`.
    pub fn parse(record: &Value) -> Result<Self, UnreadableChange> {
        let refuse = |reason: String| UnreadableChange {
            sequence_number: record["dynamodb"]["SequenceNumber"]
                .as_str()
                .map(str::to_owned),
            reason,
        };
        let change = Self::deserialize(record).map_err(|error| refuse(error.to_string()))?;
        for key in ["pk", "sk"] {
            if text(&change.dynamodb.keys, key).is_none() {
                return Err(refuse(format!("dynamodb.Keys.{key}: expected a text")));
            }
        }
        Ok(change)
    }

    /// Its number in the table's stream.
    pub fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// What is to be recorded of it; `None` for a new row, and for one that `DynamoDB` removed because its time was
    /// over.
    pub fn security(&self) -> Option<Security> {
        let (code, done) = match self.event_name {
            Kind::Insert => return None,
            Kind::Remove if self.is_expiry() => return None,
            Kind::Modify => ("audit.row_changed", "changed"),
            Kind::Remove => ("audit.row_removed", "removed"),
        };
        let keys = &self.dynamodb.keys;
        let [pk, sk] = ["pk", "sk"].map(|name| text(keys, name).unwrap_or_default());
        let held = |image: &Row, when: &str| {
            let hash = leaf_hash_of(image)?;
            Some(format!("; {when} the event with leaf hash {hash}"))
        };
        let detail = format!(
            "a row of the audit table was {done} after it was written (change {}){}{}",
            self.dynamodb.sequence_number,
            held(&self.dynamodb.old_image, "it held").unwrap_or_default(),
            held(&self.dynamodb.new_image, "it holds").unwrap_or_default(),
        );
        Some(Security {
            code: code.to_owned(),
            detail,
            subject: format!("{pk} {sk}"),
        })
    }

    fn is_expiry(&self) -> bool {
        let who = self.user_identity.as_ref();
        who.is_some_and(|who| who.principal_id == EXPIRY)
    }
}

fn text<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.get("S")?.as_str()
}

/// The leaf hash of the event that a row holds, where it holds one.
fn leaf_hash_of(row: &Row) -> Option<LeafHash> {
    let entry = row.get("entry")?.get("B")?.as_str()?;
    Some(LeafHash(leaf_hash(&STANDARD.decode(entry).ok()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(name: &str) -> Value {
        json!({
            "eventID": "1", "eventName": name, "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_767_225_600,
                "Keys": {"pk": {"S": "S#a1"}, "sk": {"S": "00000000000000000007"}},
                "OldImage": {"entry": {"B": STANDARD.encode(b"old")}, "ttl": {"N": "1"}},
                "SequenceNumber": "4421584500000000017450439091",
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        })
    }

    fn security(record: &Value) -> Option<Security> {
        Change::parse(record).unwrap().security()
    }

    #[test]
    fn a_removed_row_is_told_with_the_hash_of_what_it_held() {
        let found = security(&change("REMOVE")).unwrap();
        assert_eq!(found.code, "audit.row_removed");
        assert_eq!(found.subject, "S#a1 00000000000000000007");
        let hash = LeafHash(leaf_hash(b"old")).to_string();
        assert!(found.detail.contains(&hash), "{}", found.detail);
        assert!(found.detail.contains("4421584500000000017450439091"));
    }

    #[test]
    fn a_changed_row_is_told_with_both_hashes() {
        let mut record = change("MODIFY");
        record["dynamodb"]["NewImage"] = json!({"entry": {"B": STANDARD.encode(b"new")}});
        let found = security(&record).unwrap();
        assert_eq!(found.code, "audit.row_changed");
        for entry in [&b"old"[..], b"new"] {
            let hash = LeafHash(leaf_hash(entry)).to_string();
            assert!(found.detail.contains(&hash), "{}", found.detail);
        }
    }

    #[test]
    fn a_row_that_holds_no_event_is_told_by_its_keys() {
        let mut record = change("REMOVE");
        for image in [json!({}), json!({"entry": {"B": "?"}}), json!({"entry": 7})] {
            record["dynamodb"]["OldImage"] = image;
            let found = security(&record).unwrap();
            assert!(!found.detail.contains("leaf hash"), "{}", found.detail);
        }
    }

    #[test]
    fn a_new_row_and_one_whose_time_is_over_are_nothing_to_tell() {
        assert_eq!(security(&change("INSERT")), None);
        let mut record = change("REMOVE");
        record["userIdentity"] = json!({"type": "Service", "principalId": EXPIRY});
        assert_eq!(security(&record), None);
    }

    #[test]
    fn nobody_else_passes_for_the_expiry() {
        let mut record = change("REMOVE");
        for who in [
            json!(null),
            json!({}),
            json!({"type": "Service", "principalId": "lambda.amazonaws.com"}),
            json!({"principalId": format!("{EXPIRY}.example")}),
        ] {
            record["userIdentity"] = who;
            assert!(security(&record).is_some(), "{record}");
        }
        let mut record = change("MODIFY");
        record["userIdentity"] = json!({"type": "Service", "principalId": EXPIRY});
        assert!(security(&record).is_some(), "an expiry changes nothing");
    }

    #[test]
    fn what_is_no_change_of_a_row_is_refused_by_the_field() {
        let mut no_keys = change("REMOVE");
        no_keys["dynamodb"]["Keys"] = json!({"pk": {"S": "S#a1"}, "sk": {"N": "7"}});
        let refused = Change::parse(&no_keys).unwrap_err();
        assert_eq!(refused.reason, "dynamodb.Keys.sk: expected a text");
        assert!(refused.sequence_number.is_some());
        for record in [json!({}), json!(null), change("TRUNCATE")] {
            assert!(Change::parse(&record).is_err(), "{record}");
        }
    }
}
