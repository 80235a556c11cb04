//! What a version's last heartbeat tells.

use domain::ReleaseId;
use domain::ports::Heartbeat;

use crate::code::Code;
use crate::score::Grade;
use crate::survey::Asked;

/// Whether a version can change what it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Never: a published version serves the release that it was published with. One that serves another release
    /// than its alias says is not what was released.
    Pinned,
    /// It follows the alias: for a while after the alias moved it serves the release before.
    Following,
}

/// How a version that takes requests fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// It said lately that it serves the release.
    Serving,
    /// The same, long ago; an idle function is frozen and says nothing.
    Quiet,
    /// It serves the release and reports a fault.
    Impaired,
    /// It serves another release and knows of no fault.
    OtherRelease,
    /// It never said anything.
    Silent,
    /// What it said could not be read.
    Unreadable,
    /// It said last that it serves nothing, or an older release because the right one does not load. That holds until
    /// it says something else, however long ago it was.
    NotServing,
}

impl VersionState {
    /// The state that a heartbeat tells at `now_us`, where the alias points to `expected` and heartbeats are fresh for
    /// `fresh_us`. A heartbeat from the future is fresh only as far as clocks may differ: by as much.
    pub(crate) fn of(
        heartbeat: &Asked<Option<Heartbeat>>,
        expected: Option<ReleaseId>,
        now_us: u64,
        fresh_us: u64,
    ) -> Self {
        let heartbeat = match heartbeat {
            Err(_) => return Self::Unreadable,
            Ok(None) => return Self::Silent,
            Ok(Some(heartbeat)) => heartbeat,
        };
        let right = heartbeat.release.is_some() && heartbeat.release == expected;
        match (heartbeat.release, &heartbeat.reason) {
            (None, _) => Self::NotServing,
            (Some(_), Some(_)) if !right => Self::NotServing,
            (Some(_), Some(_)) => Self::Impaired,
            (Some(_), None) if !right => Self::OtherRelease,
            (Some(_), None) if now_us.abs_diff(heartbeat.at_us) > fresh_us => Self::Quiet,
            (Some(_), None) => Self::Serving,
        }
    }

    /// The stable name in `/v1/status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Quiet => "quiet",
            Self::Impaired => "impaired",
            Self::OtherRelease => "other_release",
            Self::Silent => "silent",
            Self::Unreadable => "unreadable",
            Self::NotServing => "not_serving",
        }
    }

    /// Why the version is not simply well.
    pub fn code(self) -> Option<Code> {
        match self {
            Self::Serving => None,
            Self::Quiet => Some(Code::HeartbeatStale),
            Self::Impaired => Some(Code::VersionImpaired),
            Self::OtherRelease => Some(Code::VersionOtherRelease),
            Self::Silent => Some(Code::HeartbeatNone),
            Self::Unreadable => Some(Code::HeartbeatUnreadable),
            Self::NotServing => Some(Code::VersionNotServing),
        }
    }

    /// What it is worth in the score.
    pub fn grade(self) -> Grade {
        match self {
            Self::Serving => Grade::Full,
            Self::Quiet | Self::Impaired => Grade::Most,
            Self::OtherRelease | Self::Silent | Self::Unreadable => Grade::Half,
            Self::NotServing => Grade::None,
        }
    }

    /// Whether the version may answer from the release, as far as is known: silence is no fault.
    pub fn may_serve(self, versions: Versions) -> bool {
        match self {
            Self::Serving | Self::Quiet | Self::Impaired | Self::Silent | Self::Unreadable => true,
            Self::OtherRelease => versions == Versions::Following,
            Self::NotServing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::StoreError;

    use super::VersionState::*;
    use super::*;
    use crate::survey::AskError;

    const NOW: u64 = 1_767_225_600_000_000;
    const FRESH: u64 = 120_000_000;

    fn id(number: u64) -> ReleaseId {
        ReleaseId::from_number(number).unwrap()
    }

    fn said(at_us: u64, release: Option<u64>, reason: Option<&str>) -> Heartbeat {
        Heartbeat {
            version: "7".to_owned(),
            at_us,
            release: release.map(id),
            reason: reason.map(str::to_owned),
            newest_event_us: None,
        }
    }

    #[test]
    fn the_last_heartbeat_decides_the_state() {
        let long_ago = NOW - FRESH - 1;
        for (heartbeat, state) in [
            (Ok(Some(said(NOW, Some(2), None))), Serving),
            (Ok(Some(said(NOW - FRESH, Some(2), None))), Serving),
            (Ok(Some(said(long_ago, Some(2), None))), Quiet),
            (Ok(Some(said(0, Some(2), None))), Quiet),
            (
                Ok(Some(said(NOW, Some(2), Some("release.not_found")))),
                Impaired,
            ),
            (
                Ok(Some(said(long_ago, Some(2), Some("release.not_found")))),
                Impaired,
            ),
            (Ok(Some(said(NOW, Some(1), None))), OtherRelease),
            (Ok(Some(said(long_ago, Some(1), None))), OtherRelease),
            (
                Ok(Some(said(NOW, Some(1), Some("artifact.digest")))),
                NotServing,
            ),
            (
                Ok(Some(said(NOW, None, Some("artifact.digest")))),
                NotServing,
            ),
            (
                Ok(Some(said(long_ago, None, Some("artifact.digest")))),
                NotServing,
            ),
            (Ok(Some(said(NOW, None, None))), NotServing),
            (Ok(None), Silent),
            (Err(AskError::Timeout), Unreadable),
            (
                Err(AskError::Store(StoreError::Corrupt(String::new()))),
                Unreadable,
            ),
        ] {
            assert_eq!(
                VersionState::of(&heartbeat, Some(id(2)), NOW, FRESH),
                state,
                "{heartbeat:?}"
            );
        }
    }

    #[test]
    fn a_heartbeat_from_the_future_is_fresh_only_as_far_as_clocks_differ() {
        let state = |at_us, now_us| {
            let heartbeat = Ok(Some(said(at_us, Some(2), None)));
            VersionState::of(&heartbeat, Some(id(2)), now_us, FRESH)
        };
        assert_eq!(state(NOW + FRESH, NOW), Serving);
        assert_eq!(state(NOW + FRESH + 1, NOW), Quiet);
        assert_eq!(state(u64::MAX, NOW), Quiet);
        assert_eq!(state(u64::MAX, 0), Quiet);
    }

    #[test]
    fn nothing_serves_the_release_of_an_alias_that_names_none() {
        let state = |release| {
            let heartbeat = Ok(Some(said(NOW, release, None)));
            VersionState::of(&heartbeat, None, NOW, FRESH)
        };
        assert_eq!(state(None), NotServing);
        assert_eq!(state(Some(1)), OtherRelease);
    }
}
