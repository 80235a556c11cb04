//! What happens to an event that the audit log does not take.

use std::fmt;

use crate::SettingsReader;

/// What happens to an event that the audit log does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditMode {
    /// Nothing is answered: 503.
    #[default]
    Strict,
    /// The event goes to the spill, and the answer is marked.
    Available,
}

impl AuditMode {
    /// The setting that says it.
    pub const SETTING: &str = "SEALCAST_AUDIT_MODE";

    /// Reads the setting: `strict`, `available`, or nothing, which is `strict`.
    pub fn from_settings<L: Fn(&str) -> Option<String>>(read: &mut SettingsReader<L>) -> Self {
        match read.optional(Self::SETTING).as_deref().map(str::trim) {
            None | Some("strict") => Self::Strict,
            Some("available") => Self::Available,
            Some(other) => {
                let why = format!("expected strict or available, found {other:?}");
                read.refuse(Self::SETTING, why);
                Self::Strict
            }
        }
    }

    /// The setting that names the bucket of the spill.
    pub const SPILL_BUCKET: &str = "SEALCAST_SPILL_BUCKET";

    /// Reads the name of the bucket that this mode spills to: required where it does, `None` where it does not.
    pub fn spill_bucket<L: Fn(&str) -> Option<String>>(
        self,
        read: &mut SettingsReader<L>,
    ) -> Option<String> {
        match self {
            Self::Strict => None,
            Self::Available => Some(read.required(
                Self::SPILL_BUCKET,
                "the name of the spill bucket, because SEALCAST_AUDIT_MODE is available",
            )),
        }
    }

    /// As it is set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Available => "available",
        }
    }
}

impl fmt::Display for AuditMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Option<&str>) -> Result<AuditMode, String> {
        let mut read = SettingsReader::new(|_: &str| value.map(str::to_owned));
        let mode = AuditMode::from_settings(&mut read);
        read.finish(mode).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_mode_is_strict_unless_it_is_set_otherwise() {
        assert_eq!(read(None), Ok(AuditMode::Strict));
        assert_eq!(read(Some("")), Ok(AuditMode::Strict));
        assert_eq!(read(Some("strict")), Ok(AuditMode::Strict));
        assert_eq!(read(Some("available ")), Ok(AuditMode::Available));
    }

    #[test]
    fn another_mode_is_refused_by_name() {
        let fault = read(Some("best-effort")).unwrap_err();
        assert_eq!(
            fault,
            "SEALCAST_AUDIT_MODE: expected strict or available, found \"best-effort\""
        );
    }
}
