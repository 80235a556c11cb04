//! Settings, from the environment only; all faults are reported together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use audit_seal::{SealSettings, interval};
use domain::{AuditMode, SettingsFaults, SettingsReader};

/// What an operator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// `SEALCAST_ADDR`: where to listen.
    pub(crate) addr: SocketAddr,
    /// `SEALCAST_DATA`: the directory that holds everything.
    pub(crate) data: PathBuf,
    /// `SEALCAST_AUDIT_MODE`: what happens to an event that the audit log does not take.
    pub(crate) audit_mode: AuditMode,
    /// `SEALCAST_SPILL_DIR`: where it goes in the mode `available`; `spill` in the data directory where it is not set.
    pub(crate) spill: PathBuf,
    /// `SEALCAST_LOG`: what is logged, for example `info` or `info,predict=debug`.
    pub(crate) log: String,
    /// `SEALCAST_SEAL_INTERVAL`: how often streams are sealed, in seconds.
    pub(crate) seal_interval: Duration,
    /// What the sealed log is called, and how it is kept alive.
    pub(crate) seal: SealSettings,
}

/// What is set of the sealer where the environment says nothing. A server's stream may be silent over a weekend.
fn seal_defaults() -> SealSettings {
    SealSettings {
        origin: "sealcast.local".to_owned(),
        heartbeat_s: 600,
        idle_after_s: 7 * 86_400,
    }
}

impl Config {
    /// Reads the settings through `lookup`.
    pub(crate) fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(&lookup);
        let get = |name: &str, default: &str| lookup(name).unwrap_or_else(|| default.to_owned());
        let addr = get("SEALCAST_ADDR", "127.0.0.1:8080")
            .parse()
            .unwrap_or_else(|_| {
                read.refuse(
                    "SEALCAST_ADDR",
                    "expected address:port, for example 127.0.0.1:8080",
                );
                SocketAddr::from(([127, 0, 0, 1], 8080))
            });
        let data = PathBuf::from(get("SEALCAST_DATA", ".sealcast"));
        if data.as_os_str().is_empty() {
            read.refuse("SEALCAST_DATA", "expected a directory");
        }
        let log = get("SEALCAST_LOG", "info");
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log) {
            let why = format!("expected a level such as info: {error}");
            read.refuse("SEALCAST_LOG", why);
        }
        let audit_mode = AuditMode::from_settings(&mut read);
        let spill = read.optional("SEALCAST_SPILL_DIR");
        let spill = spill.map_or_else(|| data.join("spill"), PathBuf::from);
        let seal_interval = interval(&mut read, "SEALCAST_SEAL_INTERVAL", Duration::from_mins(1));
        let seal = SealSettings::read(&mut read, seal_defaults());
        read.finish(Self {
            addr,
            data,
            audit_mode,
            spill,
            log,
            seal_interval,
            seal,
        })
    }

    /// The settings as they are recorded.
    pub(crate) fn as_settings(&self) -> BTreeMap<String, String> {
        let interval = self.seal_interval.as_secs_f64().to_string();
        let mut settings = BTreeMap::from([
            ("SEALCAST_ADDR".to_owned(), self.addr.to_string()),
            ("SEALCAST_DATA".to_owned(), self.data.display().to_string()),
            ("SEALCAST_LOG".to_owned(), self.log.clone()),
            (AuditMode::SETTING.to_owned(), self.audit_mode.to_string()),
            (
                "SEALCAST_SPILL_DIR".to_owned(),
                self.spill.display().to_string(),
            ),
            ("SEALCAST_SEAL_INTERVAL".to_owned(), interval),
        ]);
        settings.extend(self.seal.as_settings());
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_the_server_listens_on_this_machine_only() {
        let config = Config::from_env(|_| None).unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:8080");
        assert_eq!(config.data, PathBuf::from(".sealcast"));
        assert_eq!(config.audit_mode, AuditMode::Strict);
        assert_eq!(config.spill, PathBuf::from(".sealcast/spill"));
        assert_eq!(config.seal_interval, Duration::from_mins(1));
        assert_eq!(
            config.as_settings()["SEALCAST_LOG_ORIGIN"],
            "sealcast.local"
        );
    }

    #[test]
    fn all_faults_are_reported_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_SEAL_INTERVAL" => Some("0".to_owned()),
            "SEALCAST_ADDR" => Some("8080".to_owned()),
            "SEALCAST_LOG" => Some("=x=".to_owned()),
            _ => None,
        })
        .unwrap_err();
        assert!(
            faults.to_string().contains("SEALCAST_ADDR")
                && faults.to_string().contains("SEALCAST_LOG")
                && faults.to_string().contains("SEALCAST_SEAL_INTERVAL")
        );
    }
}
