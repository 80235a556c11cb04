//! Every reason why a fleet is not well, by its stable code.

/// Whether a reason stops the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// It does.
    Always,
    /// It does where it is about a dependency that every answer needs ([`Need::Answer`](crate::Need::Answer)).
    Answers,
    /// It does not.
    Never,
}

/// A reason; what each means to an operator stands in `docs/health.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// There is no alias `live`.
    AliasMissing,
    /// Something else than an activation moved the alias.
    AliasMoved,
    /// The alias says one release, and the only version that takes requests serves another.
    AliasMismatch,
    /// No release was activated yet.
    AliasNotActivated,
    /// The alias could not be read.
    AliasUnreadable,
    /// The release that the alias points to does not exist.
    ReleaseMissing,
    /// The release that the alias points to cannot be what was created.
    ReleaseCorrupt,
    /// The release that the alias points to could not be read.
    ReleaseUnreadable,
    /// No version that takes requests can serve the release.
    FleetNotServing,
    /// A version serves nothing, or an older release because the right one does not load.
    VersionNotServing,
    /// A version serves another release, and knows of no fault.
    VersionOtherRelease,
    /// A version serves the release and reports a fault all the same.
    VersionImpaired,
    /// A version never said how it fares.
    HeartbeatNone,
    /// What a version said last is old.
    HeartbeatStale,
    /// What a version said last could not be read.
    HeartbeatUnreadable,
    /// A dependency is not there, disabled or about to be deleted.
    DependencyGone,
    /// A dependency is not what it was.
    DependencyCorrupt,
    /// A dependency refuses or cannot be reached.
    DependencyUnavailable,
    /// A dependency did not answer within its time limit.
    DependencyTimeout,
    /// A dependency took more than half of its time limit.
    DependencySlow,
    /// Events wait in the spill: the audit log did not take them.
    SpillNotEmpty,
    /// Something was set aside in the spill that can never be replayed.
    SpillSetAside,
    /// Nobody can tell what is in the spill.
    SpillUnreadable,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 23] = [
        Self::AliasMissing,
        Self::AliasMoved,
        Self::AliasMismatch,
        Self::AliasNotActivated,
        Self::AliasUnreadable,
        Self::ReleaseMissing,
        Self::ReleaseCorrupt,
        Self::ReleaseUnreadable,
        Self::FleetNotServing,
        Self::VersionNotServing,
        Self::VersionOtherRelease,
        Self::VersionImpaired,
        Self::HeartbeatNone,
        Self::HeartbeatStale,
        Self::HeartbeatUnreadable,
        Self::DependencyGone,
        Self::DependencyCorrupt,
        Self::DependencyUnavailable,
        Self::DependencyTimeout,
        Self::DependencySlow,
        Self::SpillNotEmpty,
        Self::SpillSetAside,
        Self::SpillUnreadable,
    ];

    /// The stable spelling, for example `dependency.gone`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AliasMissing => "alias.missing",
            Self::AliasMoved => "alias.moved",
            Self::AliasMismatch => "alias.mismatch",
            Self::AliasNotActivated => "alias.not_activated",
            Self::AliasUnreadable => "alias.unreadable",
            Self::ReleaseMissing => "release.missing",
            Self::ReleaseCorrupt => "release.corrupt",
            Self::ReleaseUnreadable => "release.unreadable",
            Self::FleetNotServing => "fleet.not_serving",
            Self::VersionNotServing => "version.not_serving",
            Self::VersionOtherRelease => "version.other_release",
            Self::VersionImpaired => "version.impaired",
            Self::HeartbeatNone => "heartbeat.none",
            Self::HeartbeatStale => "heartbeat.stale",
            Self::HeartbeatUnreadable => "heartbeat.unreadable",
            Self::DependencyGone => "dependency.gone",
            Self::DependencyCorrupt => "dependency.corrupt",
            Self::DependencyUnavailable => "dependency.unavailable",
            Self::DependencyTimeout => "dependency.timeout",
            Self::DependencySlow => "dependency.slow",
            Self::SpillNotEmpty => "spill.not_empty",
            Self::SpillSetAside => "spill.set_aside",
            Self::SpillUnreadable => "spill.unreadable",
        }
    }

    /// Whether the fleet is down with it; otherwise it is degraded.
    ///
    /// What nobody knows does not block: whatever is slow for the probe may be fast enough for an answer.
    pub fn blocks(self) -> Blocks {
        match self {
            Self::AliasMissing
            | Self::AliasMoved
            | Self::AliasMismatch
            | Self::AliasNotActivated
            | Self::ReleaseMissing
            | Self::ReleaseCorrupt
            | Self::FleetNotServing
            | Self::DependencyGone
            | Self::DependencyCorrupt => Blocks::Always,
            Self::DependencyUnavailable => Blocks::Answers,
            Self::AliasUnreadable
            | Self::ReleaseUnreadable
            | Self::VersionNotServing
            | Self::VersionOtherRelease
            | Self::VersionImpaired
            | Self::HeartbeatNone
            | Self::HeartbeatStale
            | Self::HeartbeatUnreadable
            | Self::DependencyTimeout
            | Self::DependencySlow
            | Self::SpillNotEmpty
            | Self::SpillSetAside
            | Self::SpillUnreadable => Blocks::Never,
        }
    }

    /// Whether only a fault or an attack explains it, so that it becomes an event of kind `security`.
    pub fn is_breach(self) -> bool {
        matches!(
            self,
            Self::AliasMissing
                | Self::AliasMoved
                | Self::AliasMismatch
                | Self::ReleaseMissing
                | Self::ReleaseCorrupt
                | Self::DependencyGone
                | Self::DependencyCorrupt
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_listed_once_and_a_breach_always_blocks() {
        let spellings: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(spellings.len(), Code::ALL.len());
        for code in Code::ALL {
            let blocks = code.blocks() == Blocks::Always;
            assert!(blocks || !code.is_breach(), "{code:?}");
        }
    }

    #[test]
    fn the_documentation_names_every_code_with_what_it_does() {
        let page = include_str!("../../../docs/health.md");
        for code in Code::ALL {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", code.as_str())))
                .unwrap_or_else(|| panic!("docs/health.md has no row for {}", code.as_str()));
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let ready = match code.blocks() {
                Blocks::Always => "503",
                Blocks::Answers => "503 or 200",
                Blocks::Never => "200",
            };
            let event = if code.is_breach() { "security" } else { "" };
            assert_eq!((cells[2], cells[3]), (ready, event), "{row}");
        }
    }
}
