//! Settings of a sealer, wherever it runs; read from the environment.

use std::time::Duration;

use audit::note::KeyName;
use domain::SettingsReader;

/// Longest origin in bytes: every seal and every proof carries it.
const MAX_ORIGIN_BYTES: usize = 200;

/// What an operator can set of a sealer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealSettings {
    /// `SEALCAST_LOG_ORIGIN`: the log's name.
    pub origin: String,
    /// `SEALCAST_SEAL_HEARTBEAT`: seconds after which a seal is made also where nothing happened.
    pub heartbeat_s: u64,
    /// `SEALCAST_SEAL_IDLE_AFTER`: seconds of silence after which a stream is closed.
    pub idle_after_s: u64,
}

impl SealSettings {
    /// Reads the settings; what is not set is as these defaults say.
    pub fn read<L: Fn(&str) -> Option<String>>(
        read: &mut SettingsReader<L>,
        defaults: Self,
    ) -> Self {
        let origin = read
            .optional("SEALCAST_LOG_ORIGIN")
            .unwrap_or(defaults.origin);
        if KeyName::parse(&origin).is_none() || origin.len() > MAX_ORIGIN_BYTES {
            let expected = format!(
                "expected the log's name without spaces and plus signs, at most {MAX_ORIGIN_BYTES} bytes, for example \
                 audit.example.com/sealcast"
            );
            read.refuse("SEALCAST_LOG_ORIGIN", expected);
        }
        Self {
            origin,
            heartbeat_s: seconds(
                read,
                "SEALCAST_SEAL_HEARTBEAT",
                defaults.heartbeat_s,
                60..=86_400,
            ),
            idle_after_s: seconds(
                read,
                "SEALCAST_SEAL_IDLE_AFTER",
                defaults.idle_after_s,
                600..=31_536_000,
            ),
        }
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> [(String, String); 3] {
        [
            ("SEALCAST_LOG_ORIGIN", self.origin.clone()),
            ("SEALCAST_SEAL_HEARTBEAT", self.heartbeat_s.to_string()),
            ("SEALCAST_SEAL_IDLE_AFTER", self.idle_after_s.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}

/// A number of seconds of at most an hour and at least a hundredth; `default` where it is not set.
pub fn interval<L: Fn(&str) -> Option<String>>(
    read: &mut SettingsReader<L>,
    name: &str,
    default: Duration,
) -> Duration {
    let Some(text) = read.optional(name) else {
        return default;
    };
    let number = text.trim().parse().ok();
    let number = number.filter(|number| (0.01..=3600.0).contains(number));
    number.map_or_else(
        || {
            read.refuse(
                name,
                format_args!("expected seconds from 0.01 to 3600, found {text:?}"),
            );
            default
        },
        Duration::from_secs_f64,
    )
}

/// A whole number of seconds within the range; `default` where it is not set.
fn seconds<L: Fn(&str) -> Option<String>>(
    read: &mut SettingsReader<L>,
    name: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> u64 {
    let Some(text) = read.optional(name) else {
        return default;
    };
    let number = text.trim().parse().ok();
    number.filter(|n| range.contains(n)).unwrap_or_else(|| {
        let (from, to) = (range.start(), range.end());
        let expected = format!("expected whole seconds from {from} to {to}, found {text:?}");
        read.refuse(name, expected);
        default
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<SealSettings, domain::SettingsFaults> {
        let lookup = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut reader = SettingsReader::new(lookup);
        let defaults = SealSettings {
            origin: "sealcast.local".to_owned(),
            heartbeat_s: 600,
            idle_after_s: 21_600,
        };
        let settings = SealSettings::read(&mut reader, defaults);
        reader.finish(settings)
    }

    #[test]
    fn without_settings_the_defaults_hold_and_are_recorded_under_their_names() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.origin, "sealcast.local");
        let recorded = settings.as_settings();
        assert_eq!(recorded[1].0, "SEALCAST_SEAL_HEARTBEAT");
        assert_eq!(recorded[1].1, "600");
    }

    #[test]
    fn wrong_settings_are_all_named_with_what_is_expected() {
        let faults = read(&[
            ("SEALCAST_LOG_ORIGIN", "two words"),
            ("SEALCAST_SEAL_HEARTBEAT", "10m"),
            ("SEALCAST_SEAL_IDLE_AFTER", "5"),
        ]);
        let text = faults.unwrap_err().to_string();
        for part in [
            "SEALCAST_LOG_ORIGIN: expected the log's name",
            "SEALCAST_SEAL_HEARTBEAT: expected whole seconds from 60 to 86400, found \"10m\"",
            "SEALCAST_SEAL_IDLE_AFTER: expected whole seconds from 600",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
