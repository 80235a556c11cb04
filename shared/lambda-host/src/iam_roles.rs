//! Which roles an IAM principal has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::Role;

/// Not a table of roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a JSON object of ARN patterns, each with a list of roles ({}): {fault}",
    role_names()
)]
pub struct IamRolesError {
    fault: String,
}

fn role_names() -> String {
    Role::ALL.map(Role::name).join(", ")
}

/// Roles by ARN: a principal has those of every pattern that its ARN matches. In a pattern `*` stands for any
/// characters, also for none; everything else stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IamRoles(Vec<(String, BTreeSet<Role>)>);

impl IamRoles {
    /// Reads the table, for example `{"arn:aws:sts::111122223333:assumed-role/desk/*": ["predictor"]}`.
    ///
    /// # Errors
    /// [`IamRolesError`] for anything else, and for a role that does not exist.
    pub fn parse(json: &str) -> Result<Self, IamRolesError> {
        let table: BTreeMap<String, Vec<String>> =
            serde_json::from_str(json).map_err(|error| IamRolesError {
                fault: error.to_string(),
            })?;
        let mut rows = Vec::with_capacity(table.len());
        for (pattern, names) in table {
            let mut roles = BTreeSet::new();
            for name in names {
                let role = Role::parse(&name).ok_or_else(|| IamRolesError {
                    fault: format!("{pattern:?}: there is no role {name:?}"),
                })?;
                roles.insert(role);
            }
            rows.push((pattern, roles));
        }
        Ok(Self(rows))
    }

    /// The roles of the principal with this ARN.
    pub fn of(&self, arn: &str) -> BTreeSet<Role> {
        let rows = self.0.iter().filter(|(pattern, _)| matches(pattern, arn));
        rows.flat_map(|(_, roles)| roles.iter().copied()).collect()
    }
}

/// The table as [`IamRoles::parse`] reads it, in the order of the patterns.
impl fmt::Display for IamRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |roles: &BTreeSet<Role>| roles.iter().map(|role| role.name()).collect();
        let table: BTreeMap<&str, Vec<&str>> = self
            .0
            .iter()
            .map(|(pattern, roles)| (pattern.as_str(), names(roles)))
            .collect();
        write!(f, "{}", serde_json::json!(table))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    // Each part between two stars is taken where it stands first; the last one must end the text.
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else {
            return false;
        };
        text = after;
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_is_written_as_it_is_read() {
        let text = r#"{"arn:a/*":["predictor","auditor"],"arn:b":[]}"#;
        let roles = IamRoles::parse(text).unwrap();
        assert_eq!(roles.to_string(), text);
        assert_eq!(IamRoles::parse(&roles.to_string()), Ok(roles));
        assert_eq!(IamRoles::default().to_string(), "{}");
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "arn:aws:iam::1:user/anna"),
            ("arn:*:user/anna", "arn:aws:iam::1:user/anna"),
            ("*/anna", "user/anna"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c-c"),
            ("a**c", "ac"),
            ("abc", "abc"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("anna", "hanna"),
            ("arn:*/anna", "arn:aws:iam::1:user/anna2"),
            ("a*b*c", "acb"),
            ("ab*ba", "aba"),
            ("a?c", "abc"),
            ("A*", "abc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_principal_has_the_roles_of_every_pattern_that_matches() {
        let table = r#"{"*": ["auditor"], "arn:aws:sts::1:assumed-role/desk/*": ["predictor", "auditor"],
            "arn:aws:iam::1:user/paul": ["privacy-officer"]}"#;
        let roles = IamRoles::parse(table).unwrap();
        let names = |arn: &str| roles.of(arn).iter().map(|r| r.name()).collect::<Vec<_>>();
        assert_eq!(
            names("arn:aws:sts::1:assumed-role/desk/s1"),
            ["predictor", "auditor"]
        );
        assert_eq!(names("arn:aws:sts::1:assumed-role/desk2/s1"), ["auditor"]);
        assert_eq!(
            names("arn:aws:iam::1:user/paul"),
            ["auditor", "privacy-officer"]
        );
        assert!(
            IamRoles::parse("{}")
                .unwrap()
                .of("arn:aws:iam::1:root")
                .is_empty()
        );
    }

    #[test]
    fn a_table_that_is_none_is_told_what_was_expected() {
        for (text, fault) in [
            ("", "EOF"),
            ("[]", "expected a map"),
            (r#"{"*": "predictor"}"#, "expected a sequence"),
            (r#"{"*": ["admin"]}"#, r#""*": there is no role "admin""#),
        ] {
            let error = IamRoles::parse(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
            assert!(error.contains("predictor, releaser"), "{error}");
        }
    }

    /// The slow way: every way to cut the text is tried.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|cut| slow(rest, &text[cut..])),
            Some((c, rest)) => text
                .split_first()
                .is_some_and(|(t, left)| t == c && slow(rest, left)),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_exactly_what_its_parts_with_anything_between_make(
            parts in prop::collection::vec("[ab]{0,3}", 1..4),
            between in prop::collection::vec("[ab]{0,3}", 3),
            other in "[ab]{0,8}",
        ) {
            let made: String = parts
                .iter()
                .enumerate()
                .map(|(at, part)| if at == 0 { part.clone() } else { format!("{}{part}", between[at - 1]) })
                .collect();
            let pattern = parts.join("*");
            prop_assert!(matches(&pattern, &made));
            prop_assert_eq!(matches(&pattern, &other), slow(pattern.as_bytes(), other.as_bytes()));
        }
    }
}
