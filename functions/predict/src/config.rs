//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use artifact::TrustedKey;
use domain::{AuditMode, ReleaseId, SettingsFaults, SettingsReader};

/// What the stack tells the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `SEALCAST_MODELS_BUCKET`: bucket of the sealed artifacts.
    pub models_bucket: String,
    /// `SEALCAST_REGISTRY_TABLE`: table of the releases.
    pub registry_table: String,
    /// `SEALCAST_AUDIT_TABLE`: table of the audit streams.
    pub audit_table: String,
    /// `SEALCAST_REQUESTS_TABLE`: table of request ids and heartbeats.
    pub requests_table: String,
    /// `SEALCAST_AUDIT_MODE`: what happens to an event that the audit table does not take.
    pub audit_mode: AuditMode,
    /// `SEALCAST_SPILL_BUCKET`: where such events go in the mode `available`; `None` in the mode `strict`.
    pub spill_bucket: Option<String>,
    /// `SEALCAST_STREAM_KEY`: ARN of the key that registers audit streams.
    pub stream_key: String,
    /// `SEALCAST_TRUSTED_KEYS`: keys whose signatures vouch for artifacts; without any no artifact is trusted.
    pub trusted_keys: Vec<TrustedKey>,
    /// `SEALCAST_RELEASE`: what this version of the function serves. Activation sets it; without it nothing serves.
    pub release: Option<ReleaseId>,
}

impl Config {
    /// Reads the settings through `lookup`. An empty one counts as one that is not there.
    ///
    /// # Errors
    /// [`SettingsFaults`], all of them.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(lookup);
        let audit_mode = AuditMode::from_settings(&mut read);
        let spill_bucket = audit_mode.spill_bucket(&mut read);
        let mut config = Self {
            audit_mode,
            spill_bucket,
            models_bucket: read.required("SEALCAST_MODELS_BUCKET", "the name of the models bucket"),
            registry_table: read
                .required("SEALCAST_REGISTRY_TABLE", "the name of the registry table"),
            audit_table: read.required("SEALCAST_AUDIT_TABLE", "the name of the audit table"),
            requests_table: read
                .required("SEALCAST_REQUESTS_TABLE", "the name of the requests table"),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
            trusted_keys: Vec::new(),
            release: None,
        };
        if let Some(list) = read.optional("SEALCAST_TRUSTED_KEYS") {
            match TrustedKey::parse_list(&list) {
                Ok(keys) => config.trusted_keys = keys,
                Err(error) => read.refuse("SEALCAST_TRUSTED_KEYS", error),
            }
        }
        if let Some(id) = read.optional("SEALCAST_RELEASE") {
            match ReleaseId::parse(id.trim()) {
                Ok(id) => config.release = Some(id),
                Err(error) => read.refuse("SEALCAST_RELEASE", error),
            }
        }
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let release = self.release.map(|id| id.to_string()).unwrap_or_default();
        let spill_bucket = self.spill_bucket.clone().unwrap_or_default();
        let settings = [
            (AuditMode::SETTING, self.audit_mode.to_string()),
            ("SEALCAST_AUDIT_TABLE", self.audit_table.clone()),
            ("SEALCAST_MODELS_BUCKET", self.models_bucket.clone()),
            ("SEALCAST_REGISTRY_TABLE", self.registry_table.clone()),
            ("SEALCAST_RELEASE", release),
            ("SEALCAST_REQUESTS_TABLE", self.requests_table.clone()),
            (AuditMode::SPILL_BUCKET, spill_bucket),
            ("SEALCAST_STREAM_KEY", self.stream_key.clone()),
            (
                "SEALCAST_TRUSTED_KEYS",
                TrustedKey::write_list(&self.trusted_keys),
            ),
        ];
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of `shared/artifact/tests/vectors`.
    fn trusted_key() -> String {
        let pem = include_str!("../../../shared/artifact/tests/vectors/artifact.pub.pem");
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        format!("{base64};until=2100-01-01T00:00:00Z")
    }

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "SEALCAST_MODELS_BUCKET" => "models",
            "SEALCAST_REGISTRY_TABLE" => "registry",
            "SEALCAST_AUDIT_TABLE" => "audit",
            "SEALCAST_REQUESTS_TABLE" => "requests",
            "SEALCAST_STREAM_KEY" => "arn:aws:kms:eu-west-1:111122223333:key/7",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_function_that_was_never_activated_serves_nothing_and_trusts_nobody() {
        let config = Config::from_env(env).unwrap();
        assert_eq!((config.release, config.trusted_keys.len()), (None, 0));
        let settings = config.as_settings();
        assert_eq!(settings["SEALCAST_RELEASE"], "");
        assert_eq!(settings["SEALCAST_AUDIT_MODE"], "strict");
    }

    #[test]
    fn what_is_set_is_read_and_recorded() {
        let config = Config::from_env(|name| match name {
            "SEALCAST_RELEASE" => Some("r-000042\n".to_owned()),
            "SEALCAST_TRUSTED_KEYS" => Some(trusted_key()),
            "SEALCAST_AUDIT_MODE" => Some("available".to_owned()),
            "SEALCAST_SPILL_BUCKET" => Some("spill".to_owned()),
            _ => env(name),
        })
        .unwrap();
        assert_eq!(config.release, ReleaseId::from_number(42));
        assert_eq!(config.trusted_keys[0].not_after, Some(4_102_444_800));
        let settings = config.as_settings();
        assert_eq!(settings["SEALCAST_TRUSTED_KEYS"], trusted_key());
        assert_eq!(settings.len(), 9);
        assert_eq!(settings["SEALCAST_AUDIT_MODE"], "available");
        assert_eq!(settings["SEALCAST_SPILL_BUCKET"], "spill");
        for (name, value) in &settings {
            assert!(!value.is_empty(), "{name}");
        }
    }

    #[test]
    fn all_faults_are_reported_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_RELEASE" => Some("42".to_owned()),
            "SEALCAST_TRUSTED_KEYS" => Some("AAAA".to_owned()),
            "SEALCAST_STREAM_KEY" => Some("alias/stream".to_owned()),
            "SEALCAST_AUDIT_TABLE" => Some(" ".to_owned()),
            "SEALCAST_AUDIT_MODE" => Some("available".to_owned()),
            _ => None,
        })
        .unwrap_err()
        .to_string();
        let named: Vec<_> = faults
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            named,
            [
                "SEALCAST_SPILL_BUCKET",
                "SEALCAST_MODELS_BUCKET",
                "SEALCAST_REGISTRY_TABLE",
                "SEALCAST_AUDIT_TABLE",
                "SEALCAST_REQUESTS_TABLE",
                "SEALCAST_STREAM_KEY",
                "SEALCAST_TRUSTED_KEYS",
                "SEALCAST_RELEASE",
            ]
        );
        assert!(faults.contains("trusted key 1: expected a P-256 public key"));
        assert!(faults.contains("r-000042"));
    }
}
