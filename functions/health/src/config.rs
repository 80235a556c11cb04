//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use domain::{AuditMode, SettingsFaults, SettingsReader};

/// What the stack tells the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `SEALCAST_PREDICT_FUNCTION`: name of the function whose alias is looked at.
    pub predict_function: String,
    /// `SEALCAST_REGISTRY_TABLE`: table of the releases.
    pub registry_table: String,
    /// `SEALCAST_AUDIT_TABLE`: table of the audit streams.
    pub audit_table: String,
    /// `SEALCAST_REQUESTS_TABLE`: table of request ids and heartbeats.
    pub requests_table: String,
    /// `SEALCAST_MODELS_BUCKET`: bucket of the sealed artifacts.
    pub models_bucket: String,
    /// `SEALCAST_DATA_KEY`: the key that wraps data keys.
    pub data_key: String,
    /// `SEALCAST_AUDIT_MODE`: what happens to an event that the audit table does not take.
    pub audit_mode: AuditMode,
    /// `SEALCAST_SPILL_BUCKET`: the bucket of what the audit table did not take; required in the mode `available`.
    pub spill_bucket: Option<String>,
    /// `SEALCAST_STREAM_KEY`: ARN of the key that registers audit streams.
    pub stream_key: String,
}

impl Config {
    /// Reads the settings through `lookup`.
    ///
    /// # Errors
    /// [`SettingsFaults`], which names every variable that is missing or empty.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(lookup);
        let audit_mode = AuditMode::from_settings(&mut read);
        let spill_bucket = audit_mode
            .spill_bucket(&mut read)
            .or_else(|| read.optional(AuditMode::SPILL_BUCKET));
        let config = Self {
            audit_mode,
            spill_bucket,
            predict_function: read.required(
                "SEALCAST_PREDICT_FUNCTION",
                "the name of the predict function",
            ),
            registry_table: read
                .required("SEALCAST_REGISTRY_TABLE", "the name of the registry table"),
            audit_table: read.required("SEALCAST_AUDIT_TABLE", "the name of the audit table"),
            requests_table: read
                .required("SEALCAST_REQUESTS_TABLE", "the name of the requests table"),
            models_bucket: read.required("SEALCAST_MODELS_BUCKET", "the name of the models bucket"),
            data_key: read.required(
                "SEALCAST_DATA_KEY",
                "the ARN of the key that wraps data keys",
            ),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
        };
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let (audit_mode, spill_bucket) = (
            self.audit_mode.to_string(),
            self.spill_bucket.clone().unwrap_or_default(),
        );
        let settings = [
            (AuditMode::SETTING, &audit_mode),
            ("SEALCAST_AUDIT_TABLE", &self.audit_table),
            ("SEALCAST_DATA_KEY", &self.data_key),
            ("SEALCAST_MODELS_BUCKET", &self.models_bucket),
            ("SEALCAST_PREDICT_FUNCTION", &self.predict_function),
            ("SEALCAST_REGISTRY_TABLE", &self.registry_table),
            ("SEALCAST_REQUESTS_TABLE", &self.requests_table),
            (AuditMode::SPILL_BUCKET, &spill_bucket),
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
        let config = Config::from_env(|name| match name {
            "SEALCAST_AUDIT_MODE" => Some("available".to_owned()),
            _ => Some(format!("arn:{name}")),
        })
        .unwrap();
        let mut settings = config.as_settings();
        assert_eq!(settings.len(), 9);
        let mode = settings.remove("SEALCAST_AUDIT_MODE");
        assert_eq!(mode.as_deref(), Some("available"));
        for (name, value) in &settings {
            assert_eq!(*value, format!("arn:{name}"));
        }
        assert_eq!(config.predict_function, "arn:SEALCAST_PREDICT_FUNCTION");
        assert_eq!(config.registry_table, "arn:SEALCAST_REGISTRY_TABLE");
        assert_eq!(config.audit_table, "arn:SEALCAST_AUDIT_TABLE");
        assert_eq!(config.requests_table, "arn:SEALCAST_REQUESTS_TABLE");
        assert_eq!(config.models_bucket, "arn:SEALCAST_MODELS_BUCKET");
        assert_eq!(config.data_key, "arn:SEALCAST_DATA_KEY");
        assert_eq!(config.stream_key, "arn:SEALCAST_STREAM_KEY");
    }

    #[test]
    fn a_stream_key_that_is_no_arn_is_refused() {
        let faults =
            Config::from_env(|name| (!name.ends_with("MODE")).then(|| "alias/stream".to_owned()));
        assert_eq!(
            faults.unwrap_err().to_string(),
            "SEALCAST_STREAM_KEY: expected an ARN, not an id or an alias"
        );
    }

    #[test]
    fn all_missing_variables_are_named_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_AUDIT_TABLE" => Some("audit".to_owned()),
            "SEALCAST_DATA_KEY" => Some("  ".to_owned()),
            _ => None,
        });
        let text = faults.unwrap_err().to_string();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains("SEALCAST_DATA_KEY: expected"), "{text}");
        assert!(!text.contains("SEALCAST_AUDIT_TABLE"), "{text}");
    }
}
