//! Strict reading of JSON: a size cap, no trailing bytes, and errors that name the field.

use serde::de::DeserializeOwned;

/// Why bytes are not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than the form can need.
    #[error("{size} bytes: expected at most {limit}")]
    TooLarge {
        /// Size that was given, in bytes.
        size: usize,
        /// Largest size that is read, in bytes.
        limit: usize,
    },
    /// Not JSON, or a field that is missing, unknown or of the wrong form.
    #[error("{path}: {reason}")]
    Malformed {
        /// Path of the field, for example `inputs[0].shape`; `.` is the document itself.
        path: String,
        /// What was expected there, with line and column.
        reason: String,
    },
}

/// Reads `bytes` as exactly one `T`.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| JsonError::Malformed {
            path: error.path().to_string(),
            reason: error.inner().to_string(),
        })?;
    reader.end().map_err(|error| JsonError::Malformed {
        path: ".".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_wrong_field_is_named() {
        let error = read::<Vec<Vec<u8>>>(b"[[1],[2,\"x\"]]", 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[1][1]: invalid type: string \"x\", expected u8 at line 1 column 11"
        );
    }

    #[test]
    fn bytes_after_the_document_are_refused() {
        assert!(read::<u8>(b"1 ", 100).is_ok());
        assert!(
            matches!(read::<u8>(b"1 2", 100), Err(JsonError::Malformed { path, .. }) if path == ".")
        );
    }

    #[test]
    fn a_document_over_the_limit_is_not_parsed() {
        assert_eq!(
            read::<u8>(b"[[[", 2),
            Err(JsonError::TooLarge { size: 3, limit: 2 })
        );
    }
}
