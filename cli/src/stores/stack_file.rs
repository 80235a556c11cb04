//! The file that describes a deployed stack: `KEY=VALUE` lines, as `make deploy` writes them.

use std::fmt;
use std::path::Path;

use artifact::TrustedKey;
use serde_json::json;

use crate::failure::Failure;
use crate::files;

const MAX_STACK_FILE: u64 = 256 << 10;

/// What a command line needs of a stack.
const REQUIRED: [&str; 7] = [
    "SEALCAST_MODELS_BUCKET",
    "SEALCAST_REGISTRY_TABLE",
    "SEALCAST_AUDIT_TABLE",
    "SEALCAST_DATA_KEY",
    "SEALCAST_MODEL_SIGNING_KEY",
    "SEALCAST_STREAM_KEY",
    "SEALCAST_PREDICT_FUNCTION",
];
const TRUSTED_KEYS: &str = "SEALCAST_TRUSTED_KEYS";
const SPILL_BUCKET: &str = "SEALCAST_SPILL_BUCKET";
/// What else a stack may have; most of it the functions read, and nothing here does.
const OTHERS: [&str; 12] = [
    "SEALCAST_LOG_BUCKET",
    "SEALCAST_LOG_KEY",
    "SEALCAST_LOG_ORIGIN",
    "SEALCAST_AUDIT_MODE",
    "SEALCAST_LOG_TABLE",
    SPILL_BUCKET,
    "SEALCAST_OPERATOR_STREAM_KEY",
    "SEALCAST_TRUSTED_STREAM_KEYS",
    "SEALCAST_REQUESTS_TABLE",
    "SEALCAST_IAM_ROLES",
    "SEALCAST_JWT_ROLES_CLAIM",
    "SEALCAST_LOG",
];

/// The names of a deployed stack's stores and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StackFile {
    /// The file.
    pub(super) path: String,
    /// Bucket of the sealed artifacts.
    pub(super) models_bucket: String,
    /// Table of the releases.
    pub(super) registry_table: String,
    /// Table of the audit streams.
    pub(super) audit_table: String,
    /// Bucket of what the audit table did not take, where the stack has one.
    pub(super) spill_bucket: Option<String>,
    /// Symmetric key that wraps data keys.
    pub(super) data_key: String,
    /// P-256 key that signs models.
    pub(super) model_signing_key: String,
    /// Ed25519 key that registers audit streams.
    pub(super) stream_key: String,
    /// Ed25519 key that registers the streams of people's commands.
    pub(super) operator_stream_key: Option<String>,
    /// The function whose alias `live` points to what serves.
    pub(super) predict_function: String,
    /// Bucket of the sealed log, where streams are sealed.
    pub(super) log_bucket: Option<String>,
    /// Ed25519 key that signs the log's checkpoints.
    pub(super) log_key: Option<String>,
    /// The log's origin, which is its key's name.
    pub(super) log_origin: Option<String>,
    /// The keys whose signatures under models are accepted; without them, the model signing key's alone.
    pub(super) trusted_keys: Option<Vec<TrustedKey>>,
}

/// One thing that is wrong with a stack's file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// Counts from 1; `None` for what is missing.
    line: Option<usize>,
    key: Option<String>,
    expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.expected)
    }
}

impl StackFile {
    /// Reads the file; all faults are reported together.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = files::read_text(path, MAX_STACK_FILE)?;
        let place = path.display().to_string();
        Self::parse(&place, &text).map_err(|faults| {
            let sentences: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let listed: Vec<_> = faults
                .iter()
                .map(|fault| json!({ "line": fault.line, "key": fault.key, "expected": fault.expected }))
                .collect();
            let message = format!("{place}: {}", sentences.join("; "));
            Failure::refused("stack.malformed", message)
                .at(place)
                .with("faults", listed)
        })
    }

    fn parse(path: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let (lines, mut faults) = read_lines(text);
        let find = |name: &str| lines.iter().find(|line| line.key == name);
        for name in REQUIRED {
            if find(name).is_none() {
                faults.push(Fault {
                    line: None,
                    key: Some(name.to_owned()),
                    expected: "expected a line with this key, found none".to_owned(),
                });
            }
        }
        let mut trusted_keys = None;
        // An empty value stands for no list.
        if let Some(line) = find(TRUSTED_KEYS).filter(|line| !line.value.is_empty()) {
            match TrustedKey::parse_list(line.value) {
                Ok(keys) => trusted_keys = Some(keys),
                Err(error) => faults.push(line.fault(error.to_string())),
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
            return Err(faults);
        }
        let value = |name: &str| find(name).map_or_else(String::new, |line| line.value.to_owned());
        let optional = |name: &str| {
            let found = find(name).map(|line| line.value.to_owned());
            found.filter(|value| !value.is_empty())
        };
        Ok(Self {
            log_bucket: optional("SEALCAST_LOG_BUCKET"),
            log_key: optional("SEALCAST_LOG_KEY"),
            log_origin: optional("SEALCAST_LOG_ORIGIN"),
            path: path.to_owned(),
            models_bucket: value("SEALCAST_MODELS_BUCKET"),
            registry_table: value("SEALCAST_REGISTRY_TABLE"),
            audit_table: value("SEALCAST_AUDIT_TABLE"),
            spill_bucket: Some(value(SPILL_BUCKET)).filter(|name| !name.is_empty()),
            data_key: value("SEALCAST_DATA_KEY"),
            model_signing_key: value("SEALCAST_MODEL_SIGNING_KEY"),
            stream_key: value("SEALCAST_STREAM_KEY"),
            operator_stream_key: optional("SEALCAST_OPERATOR_STREAM_KEY"),
            predict_function: value("SEALCAST_PREDICT_FUNCTION"),
            trusted_keys,
        })
    }
}

/// A line with a known key.
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
}

impl Line<'_> {
    fn fault(&self, expected: impl Into<String>) -> Fault {
        Fault {
            line: Some(self.number),
            key: Some(self.key.to_owned()),
            expected: expected.into(),
        }
    }
}

/// The lines with known keys, each key once, and what is wrong with the others.
fn read_lines(text: &str) -> (Vec<Line<'_>>, Vec<Fault>) {
    let (mut lines, mut faults): (Vec<Line<'_>>, Vec<Fault>) = (Vec::new(), Vec::new());
    for (at, text) in text.lines().enumerate() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let number = at + 1;
        let Some((key, value)) = text.split_once('=') else {
            faults.push(Fault {
                line: Some(number),
                key: None,
                expected: "expected KEY=VALUE, a comment after #, or nothing".to_owned(),
            });
            continue;
        };
        let line = Line {
            number,
            key: key.trim_end(),
            value: value.trim_start(),
        };
        let earlier = lines.iter().find(|earlier| earlier.key == line.key);
        if let Some(earlier) = earlier {
            let message = format!(
                "expected this key once, it stands in line {} too",
                earlier.number
            );
            faults.push(line.fault(message));
            continue;
        }
        let required = REQUIRED.contains(&line.key);
        if !required && line.key != TRUSTED_KEYS && !OTHERS.contains(&line.key) {
            let message = format!(
                "expected one of {}, {TRUSTED_KEYS}, {}",
                REQUIRED.join(", "),
                OTHERS.join(", ")
            );
            faults.push(line.fault(message));
            continue;
        }
        if required {
            let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\'';
            if line.value.is_empty() || !line.value.chars().all(plain) {
                faults.push(line.fault("expected a name or an ARN, without quotes and blanks"));
            }
        }
        lines.push(line);
    }
    (lines, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# the stack `dev`

SEALCAST_MODELS_BUCKET=models
SEALCAST_REGISTRY_TABLE = registry
  SEALCAST_AUDIT_TABLE=audit
SEALCAST_REQUESTS_TABLE=requests
SEALCAST_DATA_KEY=arn:aws:kms:eu-central-1:123456789012:key/a=b
SEALCAST_MODEL_SIGNING_KEY=alias/models
SEALCAST_STREAM_KEY=arn:aws:kms:eu-central-1:123456789012:key/c
SEALCAST_PREDICT_FUNCTION=predict\r
SEALCAST_IAM_ROLES={\"*\": [\"predictor\"]}
SEALCAST_TRUSTED_KEYS=
";
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdeygzkPsTCbYxmFKZbMs1katANcpkD6KEtPqOH6hvCbw2ivf/mK0Gxm+dQRXjl/eT5qLfXohPOAJd8/iNhxBzw==";

    fn faults(text: &str) -> Vec<String> {
        let faults = StackFile::parse("f", text).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_file_is_read_without_comments_and_white_space() {
        let stack = StackFile::parse("f", WHOLE).unwrap();
        assert_eq!(stack.models_bucket, "models");
        assert_eq!(stack.registry_table, "registry");
        assert_eq!(stack.audit_table, "audit");
        assert_eq!(
            stack.data_key,
            "arn:aws:kms:eu-central-1:123456789012:key/a=b"
        );
        assert_eq!(stack.predict_function, "predict");
        assert_eq!(stack.trusted_keys, None);
    }

    #[test]
    fn trusted_keys_are_read_with_their_windows() {
        let list = format!("{KEY};until=2027-01-01T00:00:00Z");
        let text = WHOLE.replace("TRUSTED_KEYS=", &format!("TRUSTED_KEYS={list}"));
        let keys = StackFile::parse("f", &text).unwrap().trusted_keys.unwrap();
        assert_eq!(TrustedKey::write_list(&keys), list);
        let text = WHOLE.replace("TRUSTED_KEYS=", &format!("TRUSTED_KEYS={KEY},x"));
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("line 12: SEALCAST_TRUSTED_KEYS: trusted key 2: expected"),
            "{found:?}"
        );
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_key() {
        let text = "SEALCAST_MODELS_BUCKET=\"models\"\n\
            SEALCAST_BUCKET=x\n\
            SEALCAST_DATA_KEY=\n\
            SEALCAST_STREAM_KEY=a\n\
            nothing\n\
            SEALCAST_STREAM_KEY=b\n";
        let found = faults(text);
        let starts = [
            "line 1: SEALCAST_MODELS_BUCKET: expected a name or an ARN, without quotes",
            "line 2: SEALCAST_BUCKET: expected one of SEALCAST_MODELS_BUCKET, ",
            "line 3: SEALCAST_DATA_KEY: expected a name or an ARN",
            "line 5: expected KEY=VALUE",
            "line 6: SEALCAST_STREAM_KEY: expected this key once, it stands in line 4 too",
            "SEALCAST_REGISTRY_TABLE: expected a line with this key, found none",
            "SEALCAST_AUDIT_TABLE: ",
            "SEALCAST_MODEL_SIGNING_KEY: ",
            "SEALCAST_PREDICT_FUNCTION: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found:?}: expected {start:?}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_one_failure_with_all_its_faults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stack.env");
        std::fs::write(&path, WHOLE.replace("SEALCAST_STREAM_KEY", "STREAM_KEY")).unwrap();
        let failure = StackFile::read(&path).unwrap_err();
        assert_eq!(failure.code, "stack.malformed");
        assert!(failure.message.starts_with(&path.display().to_string()));
        assert_eq!(failure.details["faults"][0]["line"], 9);
        assert_eq!(failure.details["faults"][0]["key"], "STREAM_KEY");
        assert_eq!(failure.details["faults"][1]["key"], "SEALCAST_STREAM_KEY");
        let absent = StackFile::read(&dir.path().join("absent")).unwrap_err();
        assert_eq!(absent.code, "file.not_found");
    }
}
