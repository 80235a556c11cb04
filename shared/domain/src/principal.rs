//! Who calls, and what they may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::PrincipalId;

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Ask models.
    Predictor,
    /// Create releases and ask for promotions.
    Releaser,
    /// Approve what others created.
    Approver,
    /// Operate the kill switch and the breakers.
    Operator,
    /// Question the audit log.
    Auditor,
    /// Export and erase personal data.
    PrivacyOfficer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Predictor,
        Self::Releaser,
        Self::Approver,
        Self::Operator,
        Self::Auditor,
        Self::PrivacyOfficer,
    ];

    /// The role of this name; `None` where there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The name in tokens and errors, for example `privacy-officer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predictor => "predictor",
            Self::Releaser => "releaser",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::PrivacyOfficer => "privacy-officer",
        }
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Who.
    pub id: PrincipalId,
    /// What they may do.
    pub roles: BTreeSet<Role>,
}

impl Principal {
    /// Whether the principal holds the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roles_name_is_the_one_in_its_wire_form() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
            assert_eq!(serde_json::json!(role), role.name());
        }
        assert_eq!(Role::parse("Predictor"), None);
    }
}
