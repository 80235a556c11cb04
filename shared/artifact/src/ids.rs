//! Names and digests, parsed once at the edge; inner code takes no raw string.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A string that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?}: expected {expected}")]
pub struct ParseIdError {
    /// What was being parsed, for example `model name`.
    pub what: &'static str,
    /// The rejected text, cut to 80 characters.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl ParseIdError {
    /// An error about `value`, of which at most 80 characters are kept.
    pub fn new(what: &'static str, value: &str, expected: &'static str) -> Self {
        Self {
            what,
            value: value.chars().take(80).collect(),
            expected,
        }
    }
}

/// Declares an identifier that is a checked string: its name, what errors call it, what they expect, and the check.
/// The crate that uses it depends on `serde`.
#[macro_export]
macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// An error where the text does not have the form that the type documents.
            pub fn parse(text: &str) -> Result<Self, $crate::ParseIdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($crate::ParseIdError::new($what, text, $expected))
                }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::ParseIdError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

string_id!(
    /// A model's name: 1 to 64 of `a-z 0-9 -`, starting with a letter.
    ModelName,
    "model name",
    "1 to 64 characters of a-z, 0-9 and '-', starting with a letter",
    |text| {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

string_id!(
    /// A market symbol: 1 to 32 of `A-Z a-z 0-9 . _ : / = ^ -`.
    Symbol,
    "symbol",
    "1 to 32 characters of A-Z, a-z, 0-9 and . _ : / = ^ -",
    |text| {
        (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/=^-".contains(&b))
    }
);

/// A model's version: semantic versioning, at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelVersion(semver::Version);

impl ModelVersion {
    /// Parses `1.2.3`, `1.2.3-rc.1` and the like.
    ///
    /// # Errors
    /// [`ParseIdError`] where the text is not a semantic version. Build metadata (`+…`) is refused:
    /// two versions that differ only there would have equal precedence.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let refuse = || {
            ParseIdError::new(
                "model version",
                text,
                "a semantic version such as 1.2.3, without build metadata",
            )
        };
        if text.len() > 64 {
            return Err(refuse());
        }
        match semver::Version::parse(text) {
            Ok(version) if version.build.is_empty() => Ok(Self(version)),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ModelVersion {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ModelVersion {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ModelVersion> for String {
    fn from(version: ModelVersion) -> Self {
        version.to_string()
    }
}

/// A SHA-256 digest; as text, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Parses 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`ParseIdError`] for anything else, upper case included: a digest has one spelling.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let refuse =
            || ParseIdError::new("SHA-256 digest", text, "64 lower-case hexadecimal digits");
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| refuse())?;
        Ok(Self(digest))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Sha256Digest> for String {
    fn from(digest: Sha256Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_are_lower_case_words() {
        for good in ["a", "spx-direction", "x1"] {
            assert_eq!(ModelName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "1x", "-x", "Ab", "a_b", "a/b", "a b", &"a".repeat(65)] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_semantic_and_have_no_build_metadata() {
        assert_eq!(
            ModelVersion::parse("1.2.3-rc.1").unwrap().to_string(),
            "1.2.3-rc.1"
        );
        for bad in ["1", "1.2", "v1.2.3", "1.2.3+build", "", "01.2.3"] {
            assert!(ModelVersion::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256Digest::of(b"").to_string(), text);
        assert_eq!(Sha256Digest::parse(text), Ok(Sha256Digest::of(b"")));
        assert!(Sha256Digest::parse(&text.to_uppercase()).is_err());
        assert!(Sha256Digest::parse(&text[1..]).is_err());
    }
}
