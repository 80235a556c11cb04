//! Settings of the deployed function, from the environment only; all faults are reported together.

use std::collections::BTreeMap;

use audit::PublicKey;
use audit::note::VerifierKey;
use domain::{SettingsFaults, SettingsReader};

use crate::keys::parse_stream_keys;
use crate::settings::SealSettings;

/// What the stack tells the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `SEALCAST_AUDIT_TABLE`: table of the audit streams.
    pub audit_table: String,
    /// `SEALCAST_LOG_BUCKET`: bucket of the log.
    pub log_bucket: String,
    /// `SEALCAST_LOG_TABLE`: table of the log's lock and index.
    pub log_table: String,
    /// `SEALCAST_LOG_KEY`: ARN of the Ed25519 key that signs checkpoints.
    pub log_key: String,
    /// `SEALCAST_STREAM_KEY`: ARN of the key that registers audit streams.
    pub stream_key: String,
    /// `SEALCAST_OPERATOR_STREAM_KEY`: ARN of the key that registers the streams of people's commands; none: there are
    /// no such streams.
    pub operator_stream_key: Option<String>,
    /// `SEALCAST_TRUSTED_STREAM_KEYS`: keys that may vouch for streams, by their ids; none: the stream key and the
    /// operators' alone.
    pub trusted_stream_keys: Vec<(String, PublicKey)>,
    /// `SEALCAST_EARLIER_LOG_KEYS`: keys that signed checkpoints before the present one, in the form `name+id+base64`.
    pub earlier_log_keys: Vec<VerifierKey>,
    /// `SEALCAST_SPILL_BUCKET`: bucket of what the audit log did not take; none: nothing is spilled.
    pub spill_bucket: Option<String>,
    /// What the log is called, and how it is kept alive.
    pub seal: SealSettings,
}

/// What is set where the environment says nothing.
fn seal_defaults() -> SealSettings {
    SealSettings {
        origin: "sealcast".to_owned(),
        heartbeat_s: 600,
        idle_after_s: 6 * 3600,
    }
}

impl Config {
    /// Reads the settings through `lookup`.
    ///
    /// # Errors
    /// [`SettingsFaults`], which names every variable that is missing, empty or wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(lookup);
        let trusted = read.optional("SEALCAST_TRUSTED_STREAM_KEYS");
        let trusted_stream_keys = parse_stream_keys(trusted.as_deref().unwrap_or_default())
            .unwrap_or_else(|error| {
                read.refuse("SEALCAST_TRUSTED_STREAM_KEYS", error);
                Vec::new()
            });
        let earlier_log_keys = read.verifier_keys("SEALCAST_EARLIER_LOG_KEYS");
        let config = Self {
            audit_table: read.required("SEALCAST_AUDIT_TABLE", "the name of the audit table"),
            log_bucket: read.required("SEALCAST_LOG_BUCKET", "the name of the log's bucket"),
            log_table: read.required("SEALCAST_LOG_TABLE", "the name of the log's table"),
            log_key: read.required_arn(
                "SEALCAST_LOG_KEY",
                "the ARN of the key that signs the log's checkpoints",
            ),
            stream_key: read.required_arn(
                "SEALCAST_STREAM_KEY",
                "the ARN of the key that registers audit streams",
            ),
            operator_stream_key: read.optional_arn("SEALCAST_OPERATOR_STREAM_KEY"),
            trusted_stream_keys,
            earlier_log_keys,
            spill_bucket: read.optional("SEALCAST_SPILL_BUCKET"),
            seal: SealSettings::read(&mut read, seal_defaults()),
        };
        read.finish(config)
    }

    /// The settings as they are recorded.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let trusted = self.trusted_stream_keys.iter();
        let trusted: Vec<String> = trusted.map(|(id, key)| format!("{id}={key}")).collect();
        let earlier: Vec<String> = self
            .earlier_log_keys
            .iter()
            .map(ToString::to_string)
            .collect();
        let settings = [
            ("SEALCAST_AUDIT_TABLE", self.audit_table.clone()),
            ("SEALCAST_EARLIER_LOG_KEYS", earlier.join(",")),
            ("SEALCAST_LOG_BUCKET", self.log_bucket.clone()),
            ("SEALCAST_LOG_KEY", self.log_key.clone()),
            ("SEALCAST_LOG_TABLE", self.log_table.clone()),
            (
                "SEALCAST_OPERATOR_STREAM_KEY",
                self.operator_stream_key.clone().unwrap_or_default(),
            ),
            (
                "SEALCAST_SPILL_BUCKET",
                self.spill_bucket.clone().unwrap_or_default(),
            ),
            ("SEALCAST_STREAM_KEY", self.stream_key.clone()),
            ("SEALCAST_TRUSTED_STREAM_KEYS", trusted.join(",")),
        ];
        let set = settings.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (name.to_owned(), value))
            .chain(self.seal.as_settings())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPKI: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "SEALCAST_AUDIT_TABLE" | "SEALCAST_LOG_BUCKET" | "SEALCAST_LOG_TABLE" => {
                name.to_owned()
            }
            "SEALCAST_LOG_KEY" | "SEALCAST_STREAM_KEY" | "SEALCAST_OPERATOR_STREAM_KEY" => {
                format!("arn:{name}")
            }
            "SEALCAST_TRUSTED_STREAM_KEYS" => format!("arn:a={SPKI}"),
            "SEALCAST_SPILL_BUCKET" => name.to_owned(),
            _ => return None,
        };
        Some(value)
    }

    #[test]
    fn every_variable_is_read_from_its_own_name() {
        let config = Config::from_env(env).unwrap();
        assert_eq!(config.audit_table, "SEALCAST_AUDIT_TABLE");
        assert_eq!(config.log_bucket, "SEALCAST_LOG_BUCKET");
        assert_eq!(config.log_table, "SEALCAST_LOG_TABLE");
        assert_eq!(config.log_key, "arn:SEALCAST_LOG_KEY");
        assert_eq!(config.stream_key, "arn:SEALCAST_STREAM_KEY");
        let operators = config.operator_stream_key.as_deref();
        assert_eq!(operators, Some("arn:SEALCAST_OPERATOR_STREAM_KEY"));
        assert_eq!(config.trusted_stream_keys[0].0, "arn:a");
        let bucket = config.spill_bucket.as_deref();
        assert_eq!(bucket, Some("SEALCAST_SPILL_BUCKET"));
        assert_eq!(config.seal, seal_defaults());
        assert!(config.earlier_log_keys.is_empty());
        let settings = config.as_settings();
        assert_eq!(settings.len(), 11, "{settings:?}");
        assert_eq!(settings["SEALCAST_LOG_ORIGIN"], "sealcast");
        assert!(settings["SEALCAST_TRUSTED_STREAM_KEYS"].starts_with("arn:a=19bf44"));
    }

    #[test]
    fn all_that_is_wrong_is_named_together() {
        let faults = Config::from_env(|name| match name {
            "SEALCAST_TRUSTED_STREAM_KEYS" => Some("key".to_owned()),
            "SEALCAST_EARLIER_LOG_KEYS" => Some("a+b".to_owned()),
            "SEALCAST_LOG_KEY" | "SEALCAST_OPERATOR_STREAM_KEY" => Some("alias/log".to_owned()),
            _ => None,
        });
        let text = faults.unwrap_err().to_string();
        for part in [
            "SEALCAST_TRUSTED_STREAM_KEYS: \"key\" is no trusted key",
            "SEALCAST_EARLIER_LOG_KEYS: a verifier key is",
            "SEALCAST_LOG_KEY: expected an ARN",
            "SEALCAST_OPERATOR_STREAM_KEY: expected an ARN",
            "SEALCAST_STREAM_KEY: expected the ARN",
            "SEALCAST_LOG_TABLE: expected the name",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
