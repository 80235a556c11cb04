//! Settings: read one by one from the environment, and all that is wrong with them said together.

use std::fmt;

use audit::note::VerifierKey;

/// Every setting that is wrong, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFaults(Vec<String>);

impl fmt::Display for SettingsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsFaults {}

/// Reads settings through `lookup` and remembers what is wrong with them.
#[derive(Debug)]
pub struct SettingsReader<L> {
    lookup: L,
    faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> SettingsReader<L> {
    /// Nothing is read yet.
    pub fn new(lookup: L) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
        }
    }

    /// The setting, if it is there. A blank one counts as one that is not.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// The setting; where it is not there, that is a fault, and the text is empty.
    pub fn required(&mut self, name: &str, expected: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.refuse(name, format_args!("expected {expected}"));
            String::new()
        })
    }

    /// The same, for a setting that must be an ARN.
    pub fn required_arn(&mut self, name: &str, expected: &str) -> String {
        self.required(name, expected);
        self.optional_arn(name).unwrap_or_default()
    }

    /// The setting, if it is there; it must be an ARN.
    pub fn optional_arn(&mut self, name: &str) -> Option<String> {
        let arn = self.optional(name)?;
        if !arn.starts_with("arn:") {
            self.refuse(name, "expected an ARN, not an id or an alias");
        }
        Some(arn)
    }

    /// Verifier keys in the form `name+id+base64`, with commas between them; none where the setting is not there.
    pub fn verifier_keys(&mut self, name: &str) -> Vec<VerifierKey> {
        let text = self.optional(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim);
        let parsed: Result<Vec<VerifierKey>, _> = parts
            .filter(|part| !part.is_empty())
            .map(VerifierKey::parse)
            .collect();
        parsed.unwrap_or_else(|error| {
            self.refuse(name, error);
            Vec::new()
        })
    }

    /// Remembers what is wrong with the setting.
    pub fn refuse(&mut self, name: &str, why: impl fmt::Display) {
        self.faults.push(format!("{name}: {why}"));
    }

    /// The settings that were made of what was read.
    ///
    /// # Errors
    /// [`SettingsFaults`], all of them, in the order in which they were found.
    pub fn finish<T>(self, settings: T) -> Result<T, SettingsFaults> {
        if self.faults.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsFaults(self.faults))
        }
    }
}
