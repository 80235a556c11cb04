//! Ids that are not a model's.

use std::fmt;

use artifact::ParseIdError;
use serde::{Deserialize, Serialize};

/// A release's id: `r-` and six or more digits, counting from `r-000001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(u64);

impl ReleaseId {
    /// The id with this number; 0 is none.
    pub fn from_number(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Parses `r-000042`; a number has one spelling.
    ///
    /// # Errors
    /// [`ParseIdError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        text.strip_prefix("r-")
            .and_then(|digits| digits.parse().ok())
            .and_then(Self::from_number)
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| {
                ParseIdError::new(
                    "release id",
                    text,
                    "r- and six digits, for example r-000042",
                )
            })
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{:06}", self.0)
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> Self {
        id.to_string()
    }
}

/// Whether the text is 1 to `max` visible ASCII characters.
fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

artifact::string_id!(
    /// A request's id: 1 to 128 visible ASCII characters, unique for its caller.
    RequestId,
    "request id",
    "1 to 128 visible ASCII characters",
    |text| is_visible(text, 128)
);
artifact::string_id!(
    /// Who calls: an IAM ARN, a JWT subject or the name of a local token; 1 to 256 visible ASCII characters.
    PrincipalId,
    "principal",
    "1 to 256 visible ASCII characters",
    |text| is_visible(text, 256)
);

artifact::string_id!(
    /// Where an object of the sealed log is: two or more segments of letters, digits, `.`, `-` and `_` joined by `/`,
    /// none of which begins with a dot; at most 200 bytes. For example `tile/0/x001/234.p/5` (C2SP tlog-tiles).
    LogPath,
    "path of the log",
    "two or more segments of letters, digits, '.', '-' and '_' joined by '/', none of which begins with a dot",
    |text| text.len() <= 200 && text.contains('/') && text.split('/').all(is_segment)
);

fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_id_has_one_spelling() {
        for good in ["r-000001", "r-999999", "r-1000000"] {
            assert_eq!(ReleaseId::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "r-0",
            "r-000000",
            "r-1",
            "r-0000001",
            "000001",
            "r-+00001",
            "R-000001",
            "",
        ] {
            assert!(ReleaseId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_of_the_log_leads_only_downwards() {
        for good in ["tile/0/x001/234.p/5", "tile/entries/000", "stage/12-ab_c"] {
            assert!(LogPath::parse(good).is_ok(), "{good}");
        }
        let long = "a/".repeat(100) + "a";
        for bad in [
            "",
            "checkpoint",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/.lock",
            "a/b c",
            "a/b\\c",
            &long,
        ] {
            assert!(LogPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_is_visible_and_bounded() {
        assert!(RequestId::parse("01J-x/y:z").is_ok());
        for bad in ["", "a b", "a\n", "é", &"x".repeat(129)] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
    }
}
