//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use domain::{SettingsFaults, SettingsReader};

/// What the stack tells the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `SEALCAST_AUDIT_TABLE`: table of the audit streams, whose changes are looked at.
    pub audit_table: String,
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
        let config = Self {
            audit_table: read.required("SEALCAST_AUDIT_TABLE", "the name of the audit table"),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
        };
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        [
            ("SEALCAST_AUDIT_TABLE", &self.audit_table),
            ("SEALCAST_STREAM_KEY", &self.stream_key),
        ]
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
        assert_eq!(settings.len(), 2);
        for (name, value) in &settings {
            assert_eq!(*value, format!("arn:{name}"));
        }
    }

    #[test]
    fn all_missing_variables_are_named_together() {
        let faults = Config::from_env(|_| None).unwrap_err().to_string();
        assert_eq!(faults.lines().count(), 2, "{faults}");
    }
}
