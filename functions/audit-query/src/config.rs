//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use audit::note::{KeyName, VerifierKey};
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
    /// `SEALCAST_LOG_ORIGIN`: the log's name, as the sealer has it; `sealcast` where it is not set.
    pub log_origin: String,
    /// `SEALCAST_EARLIER_LOG_KEYS`: keys that signed checkpoints before the present one, in the form `name+id+base64`.
    pub earlier_log_keys: Vec<VerifierKey>,
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
            log_origin: read
                .optional("SEALCAST_LOG_ORIGIN")
                .unwrap_or_else(|| "sealcast".to_owned()),
            earlier_log_keys: read.verifier_keys("SEALCAST_EARLIER_LOG_KEYS"),
            log_key: read.required_arn(
                "SEALCAST_LOG_KEY",
                "the ARN of the key that signs checkpoints",
            ),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
        };
        if KeyName::parse(&config.log_origin).is_none() {
            let why = "expected a name without spaces and plus signs, for example sealcast.prod";
            read.refuse("SEALCAST_LOG_ORIGIN", why);
        }
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let earlier: Vec<String> = self
            .earlier_log_keys
            .iter()
            .map(ToString::to_string)
            .collect();
        let settings = [
            ("SEALCAST_AUDIT_TABLE", &self.audit_table),
            ("SEALCAST_EARLIER_LOG_KEYS", &earlier.join(",")),
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
    use audit::PublicKey;

    use super::*;

    /// The base point of the curve.
    fn key(name: &str) -> VerifierKey {
        let mut bytes = [0x66; 32];
        bytes[0] = 0x58;
        VerifierKey::ed25519(KeyName::parse(name).unwrap(), &PublicKey(bytes)).unwrap()
    }

    #[test]
    fn every_variable_is_read_from_its_own_name_and_recorded_under_it() {
        let (one, two) = (key("one"), key("two"));
        let config = Config::from_env(|name| match name {
            "SEALCAST_EARLIER_LOG_KEYS" => Some(format!("{one}, {two}")),
            _ => Some(format!("arn:{name}")),
        })
        .unwrap();
        assert_eq!(config.earlier_log_keys, [one.clone(), two.clone()]);
        let mut settings = config.as_settings();
        let earlier = settings.remove("SEALCAST_EARLIER_LOG_KEYS").unwrap();
        assert_eq!(earlier, format!("{one},{two}"));
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
    fn a_log_without_a_name_is_called_as_the_sealer_calls_it() {
        let config = Config::from_env(|name| match name {
            "SEALCAST_LOG_ORIGIN" | "SEALCAST_EARLIER_LOG_KEYS" => None,
            _ => Some("arn:x".to_owned()),
        });
        assert_eq!(config.unwrap().log_origin, "sealcast");
    }

    #[test]
    fn all_faults_are_named_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_LOG_ORIGIN" => Some("our log".to_owned()),
            "SEALCAST_LOG_KEY" => Some("alias/log".to_owned()),
            "SEALCAST_EARLIER_LOG_KEYS" => Some("a+b".to_owned()),
            "SEALCAST_STREAM_KEY" => Some("arn:x".to_owned()),
            _ => None,
        });
        let text = faults.unwrap_err().to_string();
        assert_eq!(text.lines().count(), 6, "{text}");
        for part in [
            "SEALCAST_AUDIT_TABLE: expected",
            "SEALCAST_LOG_BUCKET: expected",
            "SEALCAST_LOG_TABLE: expected",
            "SEALCAST_LOG_KEY: expected an ARN",
            "SEALCAST_EARLIER_LOG_KEYS: a verifier key is",
            "SEALCAST_LOG_ORIGIN: expected a name without spaces",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
