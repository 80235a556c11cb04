//! Request claims: one row for each id of each caller, written by conditional puts alone.
//!
//! ```text
//! pk       R#<principal>#<request id>    % and # in the principal are written %25 and %23
//! sk       claim
//! state    claimed | released | answered
//! token    who holds it
//! payload  SHA-256 of the request
//! until    claimed, released: when the lease ends; answered: when the answer expires (microseconds since 1970)
//! answer   deflated, `length` bytes when inflated
//! ttl      when `DynamoDB` may remove the row (seconds since 1970); nothing is decided by it
//! ```
//! A put that is refused gives back the row that stood in its way, so the role
//! that claims needs `dynamodb:PutItem` and nothing else.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use domain::ports::{Claim, ClaimKey, ClaimToken, Entropy, RequestClaims};
use domain::system::SystemEntropy;
use domain::{Sha256Digest, StoreError};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::attempt::Patience;
use crate::table::{
    Condition, Item, MAX_VALUE_BYTES, Refused, Table, array_of, bytes, bytes_of, number, number_of,
    row, text, text_of,
};

/// Sort key of every claim.
const CLAIM: &str = "claim";
/// How long a claim is remembered after its lease ended (an hour in microseconds): until then its id cannot be used
/// for another payload.
const KEEP_LAPSED_US: u64 = 3_600_000_000;
/// Claims whose payload is remembered here before lapsed ones are forgotten.
const MAX_HELD: usize = 4096;

/// Request claims in a `DynamoDB` table.
pub struct DynamoClaims {
    table: Table,
    /// Payloads of the claims that were won here. A claim that is missing costs its answer one more write.
    held: Mutex<HashMap<u64, Held>>,
}

#[derive(Clone, Copy)]
struct Held {
    payload: Sha256Digest,
    until_us: u64,
}

impl std::fmt::Debug for DynamoClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoClaims")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// A row, read.
struct Row {
    state: State,
    token: ClaimToken,
    payload: Sha256Digest,
    until_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Claimed,
    Released,
    Answered,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Released => "released",
            Self::Answered => "answered",
        }
    }
}

impl Row {
    fn read(item: &Item) -> Result<Self, StoreError> {
        let state = text_of(item, "state")?;
        let state = [State::Claimed, State::Released, State::Answered]
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| StoreError::Corrupt(format!("a claim's state is {state:?}")))?;
        Ok(Self {
            state,
            token: ClaimToken(number_of(item, "token")?),
            payload: Sha256Digest(array_of(item, "payload")?),
            until_us: number_of(item, "until")?,
        })
    }

    fn write(&self, key: &ClaimKey) -> Item {
        let mut item = row(partition(key), CLAIM);
        let kept_us = match self.state {
            State::Answered => 0,
            State::Claimed | State::Released => KEEP_LAPSED_US,
        };
        // Rounded up, so that no row is removed while it still decides.
        let ttl_s = self.until_us.saturating_add(kept_us) / 1_000_000 + 1;
        item.extend([
            ("state".to_owned(), text(self.state.name())),
            ("token".to_owned(), number(self.token.0)),
            ("payload".to_owned(), bytes(self.payload.0)),
            ("until".to_owned(), number(self.until_us)),
            ("ttl".to_owned(), number(ttl_s)),
        ]);
        item
    }
}

/// The partition key of a claim. Principals may hold `#`, which would let one caller's ids run into another's.
fn partition(key: &ClaimKey) -> String {
    let principal = key.principal.as_str().replace('%', "%25");
    let principal = principal.replace('#', "%23");
    format!("R#{principal}#{}", key.request)
}

fn state(state: State) -> aws_sdk_dynamodb::types::AttributeValue {
    text(state.name())
}

const STATE: (&str, &str) = ("#state", "state");
const TOKEN: (&str, &str) = ("#token", "token");
const UNTIL: (&str, &str) = ("#until", "until");
const PAYLOAD: (&str, &str) = ("#payload", "payload");

/// The id may be claimed for the payload: it is free, given back, lapsed, or its answer has expired.
fn is_open(payload: Sha256Digest, now_us: u64) -> Condition {
    Condition::new(
        "attribute_not_exists(pk) \
         OR #state = :released \
         OR (#state = :answered AND #until <= :now) \
         OR (#state = :claimed AND #until <= :now AND #payload = :payload) \
         OR (#state = :claimed AND #until <= :long_ago)",
        &[STATE, UNTIL, PAYLOAD],
        vec![
            (":released", state(State::Released)),
            (":answered", state(State::Answered)),
            (":claimed", state(State::Claimed)),
            (":now", number(now_us)),
            (":long_ago", number(now_us.saturating_sub(KEEP_LAPSED_US))),
            (":payload", bytes(payload.0)),
        ],
    )
}

/// The token holds the claim.
fn is_held(token: ClaimToken) -> Condition {
    Condition::new(
        "#state = :claimed AND #token = :token",
        &[STATE, TOKEN],
        vec![
            (":claimed", state(State::Claimed)),
            (":token", number(token.0)),
        ],
    )
}

/// Never holds: the refusal shows the row to a role that may not read it.
fn is_never() -> Condition {
    Condition::new(
        "attribute_exists(pk) AND attribute_not_exists(pk)",
        &[],
        Vec::new(),
    )
}

impl DynamoClaims {
    pub(crate) fn new(client: Client, patience: Patience, table: String) -> Self {
        Self {
            table: Table::new(client, patience, table),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, token: ClaimToken, held: Held, now_us: u64) {
        let mut all = self.held();
        if all.len() >= MAX_HELD {
            all.retain(|_, held| held.until_us > now_us);
        }
        all.insert(token.0, held);
    }

    fn recall(&self, token: ClaimToken) -> Option<Held> {
        self.held().get(&token.0).copied()
    }

    fn forget(&self, token: ClaimToken) {
        self.held().remove(&token.0);
    }

    /// What stands in the row of this claim.
    async fn look(&self, key: &ClaimKey) -> Result<Option<Item>, StoreError> {
        let item = row(partition(key), CLAIM);
        match self.table.put(&item, Some(&is_never())).await? {
            Err(Refused { found, .. }) => Ok(found),
            Ok(()) => Err(StoreError::Corrupt(format!(
                "request {}: a condition held that cannot hold",
                key.request
            ))),
        }
    }
}

#[async_trait]
impl RequestClaims for DynamoClaims {
    async fn claim(
        &self,
        key: &ClaimKey,
        payload: Sha256Digest,
        now_us: u64,
        lease_us: u64,
    ) -> Result<Claim, StoreError> {
        let mut token = [0; 8];
        SystemEntropy.fill(&mut token)?;
        let token = ClaimToken(u64::from_be_bytes(token));
        let until_us = now_us.saturating_add(lease_us);
        let claimed = Row {
            state: State::Claimed,
            token,
            payload,
            until_us,
        };
        let won = || {
            self.remember(token, Held { payload, until_us }, now_us);
            Ok(Claim::Won(token))
        };
        let item = claimed.write(key);
        let refusal = self
            .table
            .put(&item, Some(&is_open(payload, now_us)))
            .await?;
        let Err(Refused { found, in_doubt }) = refusal else {
            return won();
        };
        let Some(found) = found else {
            // The row that stood in the way was removed since: it had expired.
            return Err(StoreError::Unavailable(format!(
                "request {}: its row was removed while it was claimed",
                key.request
            )));
        };
        let row = Row::read(&found)?;
        if in_doubt && row.state == State::Claimed && row.token == token {
            return won();
        }
        if row.payload != payload {
            return Ok(Claim::Mismatch);
        }
        match row.state {
            State::Answered => Ok(Claim::Answered(answer_of(&found)?)),
            State::Claimed | State::Released => Ok(Claim::InProgress),
        }
    }

    async fn answer(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
        answer: &[u8],
        expires_us: u64,
    ) -> Result<(), StoreError> {
        let not_held = || {
            let request = &key.request;
            StoreError::Conflict(format!(
                "request {request}: the claim is held by nobody or by somebody else"
            ))
        };
        let answered_so = |found: &Item, row: &Row| -> Result<bool, StoreError> {
            Ok(row.state == State::Answered && row.token == token && answer_of(found)? == answer)
        };
        let payload = if let Some(held) = self.recall(token) {
            held.payload
        } else {
            let found = self.look(key).await?.ok_or_else(not_held)?;
            let row = Row::read(&found)?;
            if answered_so(&found, &row)? {
                return Ok(());
            }
            if row.state != State::Claimed || row.token != token {
                return Err(not_held());
            }
            row.payload
        };
        let deflated = deflate(answer)?;
        let answered = Row {
            state: State::Answered,
            token,
            payload,
            until_us: expires_us,
        };
        let mut item = answered.write(key);
        item.insert("answer".to_owned(), bytes(deflated));
        item.insert("length".to_owned(), number(answer.len() as u64));
        let refusal = match self.table.put(&item, Some(&is_held(token))).await? {
            Ok(()) => None,
            Err(refused) => Some(refused.found.ok_or_else(not_held)?),
        };
        self.forget(token);
        match refusal {
            None => Ok(()),
            Some(found) if answered_so(&found, &Row::read(&found)?)? => Ok(()),
            Some(_) => Err(not_held()),
        }
    }

    async fn release(&self, key: &ClaimKey, token: ClaimToken) -> Result<(), StoreError> {
        let held = if let Some(held) = self.recall(token) {
            held
        } else {
            let Some(found) = self.look(key).await? else {
                return Ok(());
            };
            let row = Row::read(&found)?;
            if row.state != State::Claimed || row.token != token {
                return Ok(());
            }
            Held {
                payload: row.payload,
                until_us: row.until_us,
            }
        };
        let released = Row {
            state: State::Released,
            token,
            payload: held.payload,
            until_us: held.until_us,
        };
        // A refusal says that somebody else holds it, or nobody.
        let _ = self
            .table
            .put(&released.write(key), Some(&is_held(token)))
            .await?;
        self.forget(token);
        Ok(())
    }
}

fn deflate(answer: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let deflated = encoder
        .write_all(answer)
        .and_then(|()| encoder.finish())
        .map_err(|error| StoreError::Conflict(format!("an answer: {error}")))?;
    if deflated.len() > MAX_VALUE_BYTES {
        return Err(StoreError::TooLarge(format!(
            "an answer of {} bytes, {} deflated: expected at most {MAX_VALUE_BYTES}",
            answer.len(),
            deflated.len()
        )));
    }
    Ok(deflated)
}

fn answer_of(item: &Item) -> Result<Vec<u8>, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt(format!("a recorded answer: {reason}"));
    let length = number_of(item, "length")?;
    let mut answer = Vec::new();
    DeflateDecoder::new(bytes_of(item, "answer")?)
        .take(length.saturating_add(1))
        .read_to_end(&mut answer)
        .map_err(|error| corrupt(error.to_string()))?;
    if answer.len() as u64 != length {
        return Err(corrupt(format!("its length is not {length} bytes")));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use domain::{PrincipalId, RequestId};

    use super::*;

    fn key(principal: &str, request: &str) -> ClaimKey {
        ClaimKey {
            principal: PrincipalId::parse(principal).unwrap(),
            request: RequestId::parse(request).unwrap(),
        }
    }

    #[test]
    fn no_callers_ids_run_into_anothers() {
        let keys = [
            key("a", "b#c"),
            key("a#b", "c"),
            key("a%23b", "c"),
            key("a%2523b", "c"),
        ];
        let partitions: std::collections::HashSet<_> = keys.iter().map(partition).collect();
        assert_eq!(partitions.len(), keys.len());
        assert_eq!(partition(&keys[1]), "R#a%23b#c");
        let plain = key("arn:aws:iam::123456789012:role/desk", "id-1");
        assert_eq!(
            partition(&plain),
            "R#arn:aws:iam::123456789012:role/desk#id-1"
        );
    }

    #[test]
    fn an_answer_is_kept_deflated_and_its_length_is_held_to() {
        let answer = vec![7; 1_000_000];
        let deflated = deflate(&answer).unwrap();
        assert!(deflated.len() < 10_000);
        let mut item = Item::from([
            ("answer".to_owned(), bytes(deflated)),
            ("length".to_owned(), number(1_000_000)),
        ]);
        assert_eq!(answer_of(&item), Ok(answer));
        for length in [0, 999_999, 1_000_001] {
            item.insert("length".to_owned(), number(length));
            assert!(matches!(answer_of(&item), Err(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn an_answer_that_no_row_holds_is_too_large() {
        let mut noise = vec![0; 500_000];
        SystemEntropy.fill(&mut noise).unwrap();
        assert!(matches!(deflate(&noise), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn a_row_reads_back_and_outlives_what_it_decides() {
        let written = Row {
            state: State::Claimed,
            token: ClaimToken(u64::MAX),
            payload: Sha256Digest::of(b"payload"),
            until_us: 1_500_000,
        };
        let mut item = written.write(&key("a", "b"));
        let read = Row::read(&item).unwrap();
        assert_eq!(
            (read.state, read.token, read.payload, read.until_us),
            (
                State::Claimed,
                ClaimToken(u64::MAX),
                written.payload,
                1_500_000
            )
        );
        assert_eq!(number_of(&item, "ttl"), Ok(3602));
        item.insert("state".to_owned(), text("lost"));
        assert!(matches!(Row::read(&item), Err(StoreError::Corrupt(_))));
    }
}
