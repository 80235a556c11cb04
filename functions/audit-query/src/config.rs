//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use audit::note::KeyName;
use domain::{SettingsFaults, SettingsReader};

/// What the stack tells the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `SEALCAST_AUDIT_TABLE`: table of the audit streams.
    pub audit_table: String,
    /// `SEALCAST_LOG_BUCKET`: bucket of the sealed log.
    pub log_bucket: String,
    /// `SEALCAST_LOG_TABLE`: table that says where sealed events stand.
    pub log_table: String,
    /// `SEALCAST_LOG_ORIGIN`: the log's name, for example `sealcast.prod`.
    pub log_origin: String,
    /// `SEALCAST_LOG_KEY`: ARN of the key that signs checkpoints.
    pub log_key: String,
    /// `SEALCAST_STREAM_KEY`: ARN of the key that registers audit streams.
    pub stream_key: String,
}

impl Config {
    /// Reads the settings through `lookup`.
    ///
    /// # Errors
    /// [`SettingsFaults`], which names every variable that is missing or wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(lookup);
        let config = Self {
            audit_table: read.required("SEALCAST_AUDIT_TABLE", "the name of the audit table"),
            log_bucket: read.required("SEALCAST_LOG_BUCKET", "the name of the log bucket"),
            log_table: read.required("SEALCAST_LOG_TABLE", "the name of the log table"),
            log_origin: read.required(
                "SEALCAST_LOG_ORIGIN",
                "the log's name, for example sealcast.prod",
            ),
            log_key: read.required_arn(
                "SEALCAST_LOG_KEY",
                "the ARN of the key that signs checkpoints",
            ),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
        };
        let origin = &config.log_origin;
        if !origin.is_empty() && KeyName::parse(origin).is_none() {
            let why = "expected a name without spaces and plus signs, for example sealcast.prod";
            read.refuse("SEALCAST_LOG_ORIGIN", why);
        }
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let settings = [
            ("SEALCAST_AUDIT_TABLE", &self.audit_table),
            ("SEALCAST_LOG_BUCKET", &self.log_bucket),
            ("SEALCAST_LOG_KEY", &self.log_key),
            ("SEALCAST_LOG_ORIGIN", &self.log_origin),
            ("SEALCAST_LOG_TABLE", &self.log_table),
            ("SEALCAST_STREAM_KEY", &self.stream_key),
        ];
        settings
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_read_from_its_own_name_and_recorded_under_it() {
        let config = Config::from_env(|name| Some(format!("arn:{name}"))).unwrap();
        let settings = config.as_settings();
        assert_eq!(settings.len(), 6);
        for (name, value) in &settings {
            assert_eq!(*value, format!("arn:{name}"));
        }
        assert_eq!(config.audit_table, "arn:SEALCAST_AUDIT_TABLE");
        assert_eq!(config.log_bucket, "arn:SEALCAST_LOG_BUCKET");
        assert_eq!(config.log_table, "arn:SEALCAST_LOG_TABLE");
        assert_eq!(config.log_origin, "arn:SEALCAST_LOG_ORIGIN");
        assert_eq!(config.log_key, "arn:SEALCAST_LOG_KEY");
        assert_eq!(config.stream_key, "arn:SEALCAST_STREAM_KEY");
    }

    #[test]
    fn all_faults_are_named_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_LOG_ORIGIN" => Some("our log".to_owned()),
            "SEALCAST_LOG_KEY" => Some("alias/log".to_owned()),
            "SEALCAST_STREAM_KEY" => Some("arn:x".to_owned()),
            _ => None,
        });
        let text = faults.unwrap_err().to_string();
        assert_eq!(text.lines().count(), 5, "{text}");
        for part in [
            "SEALCAST_AUDIT_TABLE: expected",
            "SEALCAST_LOG_BUCKET: expected",
            "SEALCAST_LOG_TABLE: expected",
            "SEALCAST_LOG_KEY: expected an ARN",
            "SEALCAST_LOG_ORIGIN: expected a name without spaces",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
