//! One `DynamoDB` table with the string keys `pk` and `sk`: reads that are consistent, and puts with a condition that
//! say what stood in their way.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use domain::StoreError;

use crate::attempt::{Access, Patience};
use crate::error;

/// Longest value of one item in bytes: `DynamoDB`'s 400 KB, less names, keys and the other attributes.
pub(crate) const MAX_VALUE_BYTES: usize = 390_000;

/// A row: names and values of its attributes.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// What must hold for a put; every name in it is written `#name` and every value `:name`.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    expression: &'static str,
    names: &'static [(&'static str, &'static str)],
    values: Vec<(&'static str, AttributeValue)>,
}

impl Condition {
    /// The row does not exist.
    pub(crate) fn absent() -> Self {
        Self::new("attribute_not_exists(pk)", &[], Vec::new())
    }

    pub(crate) fn new(
        expression: &'static str,
        names: &'static [(&'static str, &'static str)],
        values: Vec<(&'static str, AttributeValue)>,
    ) -> Self {
        Self {
            expression,
            names,
            values,
        }
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        let names = self
            .names
            .iter()
            .map(|(name, of)| ((*name).to_owned(), (*of).to_owned()));
        Some(names.collect()).filter(|names: &HashMap<_, _>| !names.is_empty())
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        let values = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Some(values.collect()).filter(|values: &HashMap<_, _>| !values.is_empty())
    }
}

/// What rows are asked for by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// `None`: the table itself.
    pub(crate) index: Option<&'static str>,
    pub(crate) pk: &'static str,
    pub(crate) sk: &'static str,
}

impl Keys {
    pub(crate) const OF_TABLE: Self = Self {
        index: None,
        pk: "pk",
        sk: "sk",
    };
}

/// A put whose condition did not hold.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The row that was there; `None` where there was none.
    pub(crate) found: Option<Item>,
    /// An earlier attempt of the same put may be what is there now.
    pub(crate) in_doubt: bool,
}

/// A transaction that was refused: for each put, in order, what stood in its way; `None` where nothing did.
pub(crate) type Objections = Vec<Option<Refused>>;

/// A table and the client for it.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    client: Client,
    patience: Patience,
    name: String,
}

impl Table {
    pub(crate) fn new(client: Client, patience: Patience, name: String) -> Self {
        Self {
            client,
            patience,
            name,
        }
    }

    fn what(&self, action: &str, pk: &str, sk: &str) -> String {
        format!("{action} {pk} {sk} in table {}", self.name)
    }

    /// The row as it is now; `None` where there is none.
    pub(crate) async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let call = || {
            self.client
                .get_item()
                .table_name(&self.name)
                .key("pk", text(pk))
                .key("sk", text(sk))
                .consistent_read(true)
                .send()
        };
        let what = self.what("read", pk, sk);
        let got = self.patience.attempt(Access::Read, what, call).await?;
        Ok(got.item)
    }

    /// Writes the row if the condition holds. The same put again is told apart by what [`Refused`] holds.
    pub(crate) async fn put(
        &self,
        item: &Item,
        condition: Option<&Condition>,
    ) -> Result<Result<(), Refused>, StoreError> {
        let call = || {
            self.client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item.clone()))
                .set_condition_expression(condition.map(|c| c.expression.to_owned()))
                .set_expression_attribute_names(condition.and_then(Condition::names))
                .set_expression_attribute_values(condition.and_then(Condition::values))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
                .send()
        };
        let what = self.what("write", key_of(item, "pk"), key_of(item, "sk"));
        match self.patience.attempt(Access::Write, what, call).await {
            Ok(_) => Ok(Ok(())),
            Err(failed) => match failed.service() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => Ok(Err(Refused {
                    found: refusal.item().filter(|item| !item.is_empty()).cloned(),
                    in_doubt: failed.in_doubt,
                })),
                _ => Err(failed.into_store()),
            },
        }
    }

    /// Writes all rows or none, each under its condition: at most 100 rows and 4 MB.
    pub(crate) async fn put_all(
        &self,
        rows: &[(Item, Condition)],
    ) -> Result<Result<(), Objections>, StoreError> {
        let mut puts = Vec::with_capacity(rows.len());
        for (item, condition) in rows {
            let put = Put::builder()
                .table_name(&self.name)
                .set_item(Some(item.clone()))
                .condition_expression(condition.expression)
                .set_expression_attribute_names(condition.names())
                .set_expression_attribute_values(condition.values())
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
                .build()
                .map_err(|error| StoreError::Unavailable(format!("a transaction: {error}")))?;
            puts.push(TransactWriteItem::builder().put(put).build());
        }
        let call = || {
            self.client
                .transact_write_items()
                .set_transact_items(Some(puts.clone()))
                .send()
        };
        let (pk, sk) = rows.first().map_or(("nothing", ""), |(item, _)| {
            (key_of(item, "pk"), key_of(item, "sk"))
        });
        let what = self.what(&format!("write {} rows from", rows.len()), pk, sk);
        let size: usize = rows.iter().map(|(item, _)| size_of_blobs(item)).sum();
        let result = self
            .patience
            .for_bytes(size as u64)
            .attempt_judged(Access::Write, what, call, error::judge_transaction)
            .await;
        let Err(failed) = result else {
            return Ok(Ok(()));
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            failed.service()
        else {
            return Err(failed.into_store());
        };
        let reasons = cancelled.cancellation_reasons();
        let failed_check = |code: Option<&str>| code == Some("ConditionalCheckFailed");
        if reasons.len() != rows.len() || !reasons.iter().any(|r| failed_check(r.code())) {
            return Err(failed.into_store());
        }
        let objections = reasons.iter().map(|reason| {
            failed_check(reason.code()).then(|| Refused {
                found: reason.item().filter(|item| !item.is_empty()).cloned(),
                in_doubt: failed.in_doubt,
            })
        });
        Ok(Err(objections.collect()))
    }

    /// Deletes the row if the condition holds; nothing happens where it does not, or there is none.
    pub(crate) async fn delete(
        &self,
        pk: &str,
        sk: &str,
        condition: &Condition,
    ) -> Result<(), StoreError> {
        let call = || {
            self.client
                .delete_item()
                .table_name(&self.name)
                .key("pk", text(pk))
                .key("sk", text(sk))
                .condition_expression(condition.expression)
                .set_expression_attribute_names(condition.names())
                .set_expression_attribute_values(condition.values())
                .send()
        };
        let what = self.what("delete", pk, sk);
        match self.patience.attempt(Access::Write, what, call).await {
            Err(failed)
                if !matches!(
                    failed.service(),
                    Some(DeleteItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Err(failed.into_store())
            }
            _ => Ok(()),
        }
    }

    /// The last row of one partition whose `sk` is from `from` to `to`, both included.
    pub(crate) async fn last(
        &self,
        pk: &str,
        from: &str,
        to: &str,
    ) -> Result<Option<Item>, StoreError> {
        let call = || {
            self.client
                .query()
                .table_name(&self.name)
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_names("#sk", "sk")
                .expression_attribute_values(":pk", text(pk))
                .expression_attribute_values(":from", text(from))
                .expression_attribute_values(":to", text(to))
                .consistent_read(true)
                .scan_index_forward(false)
                .limit(1)
                .send()
        };
        let what = self.what("query", pk, to);
        let found = self.patience.attempt(Access::Read, what, call).await?;
        Ok(found.items.unwrap_or_default().into_iter().next())
    }

    /// Rows of one partition whose `sk` is from `from` to `to`, both included, ascending, at most `limit`.
    pub(crate) async fn query(
        &self,
        pk: &str,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        self.query_in(Keys::OF_TABLE, pk, from, to, limit).await
    }

    /// The same by the table's keys or those of an index. What was just written may be missing from an index.
    pub(crate) async fn query_in(
        &self,
        keys: Keys,
        pk: &str,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let mut rows: Vec<Item> = Vec::new();
        let mut start: Option<Item> = None;
        while rows.len() < limit {
            let page = i32::try_from(limit - rows.len()).unwrap_or(i32::MAX);
            let call = || {
                self.client
                    .query()
                    .table_name(&self.name)
                    .set_index_name(keys.index.map(str::to_owned))
                    .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                    .expression_attribute_names("#pk", keys.pk)
                    .expression_attribute_names("#sk", keys.sk)
                    .expression_attribute_values(":pk", text(pk))
                    .expression_attribute_values(":from", text(from))
                    .expression_attribute_values(":to", text(to))
                    .set_exclusive_start_key(start.clone())
                    .consistent_read(keys.index.is_none())
                    .limit(page)
                    .send()
            };
            let what = self.what("query", pk, from);
            let found = self.patience.attempt(Access::Read, what, call).await?;
            rows.extend(found.items.unwrap_or_default());
            start = found.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                break;
            }
        }
        Ok(rows)
    }
}

/// What makes a row large.
fn size_of_blobs(item: &Item) -> usize {
    let blobs = item.values().filter_map(|value| value.as_b().ok());
    blobs.map(|blob| blob.as_ref().len()).sum()
}

/// A row with these keys and nothing else yet.
pub(crate) fn row(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// A string's value.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number's value.
pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Bytes as a value.
pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// A key of the row, for errors.
fn key_of<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map_or("?", String::as_str)
}

fn wrong(item: &Item, name: &str, expected: &str) -> StoreError {
    let (pk, sk) = (key_of(item, "pk"), key_of(item, "sk"));
    StoreError::Corrupt(format!("row {pk} {sk}: `{name}` is not {expected}"))
}

/// The row's string `name`.
pub(crate) fn text_of<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value
        .map(String::as_str)
        .ok_or_else(|| wrong(item, name, "a string"))
}

/// The row's whole number `name`.
pub(crate) fn number_of(item: &Item, name: &str) -> Result<u64, StoreError> {
    let value = item.get(name).and_then(|value| value.as_n().ok());
    value
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| wrong(item, name, "a whole number"))
}

/// The row's bytes `name`.
pub(crate) fn bytes_of<'a>(item: &'a Item, name: &str) -> Result<&'a [u8], StoreError> {
    let value = item.get(name).and_then(|value| value.as_b().ok());
    value
        .map(Blob::as_ref)
        .ok_or_else(|| wrong(item, name, "binary"))
}

/// The row's bytes `name`, of which there must be exactly `N`.
pub(crate) fn array_of<const N: usize>(item: &Item, name: &str) -> Result<[u8; N], StoreError> {
    bytes_of(item, name)?
        .try_into()
        .map_err(|_| wrong(item, name, &format!("binary of {N} bytes")))
}
