//! The answers as rows: one table by request, one by time of expiry.

use std::path::Path;

use artifact::Sha256Digest;
use domain::StoreError;
use domain::ports::{ClaimKey, ClaimToken};
use redb::{
    CommitError, Database, Durability, ReadableDatabase, StorageError, Table, TableDefinition,
    TableError, TransactionError, WriteTransaction,
};

use crate::database;
use crate::error::OpenError;

const ANSWERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("answers");
const EXPIRY: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("answers-by-expiry");

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The version of a row's form: `1 ‖ expires_us[8] ‖ token[8] ‖ payload[32] ‖ answer`, big-endian.
const ROW_VERSION: u8 = 1;
const ROW_HEAD: usize = 1 + 8 + 8 + 32;

/// A recorded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) expires_us: u64,
    pub(super) token: ClaimToken,
    pub(super) payload: Sha256Digest,
    pub(super) answer: Vec<u8>,
}

impl Row {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROW_HEAD + self.answer.len());
        bytes.push(ROW_VERSION);
        bytes.extend_from_slice(&self.expires_us.to_be_bytes());
        bytes.extend_from_slice(&self.token.0.to_be_bytes());
        bytes.extend_from_slice(&self.payload.0);
        bytes.extend_from_slice(&self.answer);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt(format!("a recorded answer: {reason}"));
        match bytes.first() {
            Some(&ROW_VERSION) => {}
            version => {
                return Err(corrupt(format!(
                    "version {version:?}, expected {ROW_VERSION}"
                )));
            }
        }
        let short = || {
            corrupt(format!(
                "{} bytes, expected at least {ROW_HEAD}",
                bytes.len()
            ))
        };
        let (expires_us, rest) = bytes[1..].split_first_chunk().ok_or_else(short)?;
        let (token, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (payload, answer) = rest.split_first_chunk().ok_or_else(short)?;
        Ok(Self {
            expires_us: u64::from_be_bytes(*expires_us),
            token: ClaimToken(u64::from_be_bytes(*token)),
            payload: Sha256Digest(*payload),
            answer: answer.to_vec(),
        })
    }
}

/// The key of a row: neither part holds a zero byte.
fn row_key(key: &ClaimKey) -> Vec<u8> {
    [
        key.principal.as_str().as_bytes(),
        &[0],
        key.request.as_str().as_bytes(),
    ]
    .concat()
}

/// Any error of redb before a commit: nothing was changed.
struct Refused(redb::Error);

macro_rules! refused_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Refused {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })+
    };
}
refused_from!(
    TransactionError,
    TableError,
    StorageError,
    redb::SetDurabilityError
);

impl From<Refused> for StoreError {
    fn from(Refused(error): Refused) -> Self {
        match error {
            redb::Error::Corrupted(reason) => {
                Self::Corrupt(format!("the database of answers: {reason}"))
            }
            error => Self::Unavailable(format!("the database of answers: {error}")),
        }
    }
}

fn not_committed(error: CommitError) -> StoreError {
    StoreError::OutcomeUnknown(format!("the database of answers: {error}"))
}

/// The database of answers.
#[derive(Debug)]
pub(super) struct Answers {
    database: Database,
}

impl Answers {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let database = database::open(path, CACHE_BYTES)?;
        let answers = Self { database };
        // Reading a table that does not exist is an error, so both are made now.
        let created = answers.write(|transaction| {
            transaction.open_table(ANSWERS)?;
            transaction.open_table(EXPIRY)?;
            Ok(())
        });
        created.map_err(|error| OpenError::malformed(path, error))?;
        Ok(answers)
    }

    pub(super) fn get(&self, key: &ClaimKey) -> Result<Option<Row>, StoreError> {
        let read = || -> Result<_, Refused> {
            let table = self.database.begin_read()?.open_table(ANSWERS)?;
            Ok(table.get(row_key(key).as_slice())?)
        };
        read()?
            .map(|bytes| Row::from_bytes(bytes.value()))
            .transpose()
    }

    /// Whether a transaction can be begun; it is refused after an error of the disk.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let begin = || -> Result<(), Refused> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(ANSWERS)?;
            transaction.abort()?;
            Ok(())
        };
        Ok(begin()?)
    }

    /// Records the rows in one durable transaction.
    pub(super) fn insert(&self, rows: &[(ClaimKey, Row)]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut answers = transaction.open_table(ANSWERS)?;
            let mut expiry = transaction.open_table(EXPIRY)?;
            for (key, row) in rows {
                let key = row_key(key);
                answers.insert(key.as_slice(), row.to_bytes().as_slice())?;
                expiry.insert((row.expires_us, key.as_slice()), ())?;
            }
            Ok(())
        })
    }

    /// Removes at most `limit` rows that had expired at `now_us`; gives how many were looked at, and removed.
    pub(super) fn remove_expired(
        &self,
        now_us: u64,
        limit: usize,
    ) -> Result<(usize, u64), StoreError> {
        let (mut seen, mut removed) = (0, 0);
        self.write(|transaction| {
            let mut answers = transaction.open_table(ANSWERS)?;
            let mut expiry = transaction.open_table(EXPIRY)?;
            let mut due: Vec<(u64, Vec<u8>)> = Vec::new();
            for entry in expiry
                .extract_from_if(..=(now_us, [u8::MAX].as_slice()), |_, ()| true)?
                .take(limit)
            {
                let (entry, ()) = entry.map(|(key, value)| (key, value.value()))?;
                let (expires_us, key) = entry.value();
                due.push((expires_us, key.to_vec()));
            }
            seen = due.len();
            for (expires_us, key) in due {
                removed += u64::from(remove_row(&mut answers, &key, expires_us)?);
            }
            Ok(())
        })?;
        Ok((seen, removed))
    }

    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), Refused>,
    ) -> Result<(), StoreError> {
        let transaction = || -> Result<WriteTransaction, Refused> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            change(&transaction)?;
            Ok(transaction)
        };
        transaction()?.commit().map_err(not_committed)
    }
}

/// Removes the row unless it was written anew since, with another expiry; true where it was removed.
fn remove_row(
    answers: &mut Table<'_, &[u8], &[u8]>,
    key: &[u8],
    expires_us: u64,
) -> Result<bool, Refused> {
    use redb::ReadableTable;
    let due = answers.get(key)?.is_some_and(|row| {
        Row::from_bytes(row.value()).is_ok_and(|row| row.expires_us == expires_us)
    });
    if due {
        answers.remove(key)?;
    }
    Ok(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_another_version_does_not() {
        let row = Row {
            expires_us: 7,
            token: ClaimToken(9),
            payload: Sha256Digest::of(b"payload"),
            answer: b"answer".to_vec(),
        };
        let mut bytes = row.to_bytes();
        assert_eq!(Row::from_bytes(&bytes), Ok(row));
        assert!(matches!(
            Row::from_bytes(&bytes[..ROW_HEAD - 1]),
            Err(StoreError::Corrupt(_))
        ));
        bytes[0] = 2;
        assert!(matches!(
            Row::from_bytes(&bytes),
            Err(StoreError::Corrupt(_))
        ));
        assert!(matches!(Row::from_bytes(&[]), Err(StoreError::Corrupt(_))));
    }
}
