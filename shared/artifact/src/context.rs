//! What a data key is for: which plain model, under which name and version.

use std::collections::BTreeMap;

use crate::ids::{ModelName, ModelVersion, Sha256Digest};

/// Bound into the containers' key derivation and into the wrapping of the data key, so that neither serves
/// another model. The data key is wrapped under the digest of the ONNX file; each container is bound to the digest
/// of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The model's name.
    pub model: ModelName,
    /// The model's version.
    pub version: ModelVersion,
    /// SHA-256 of the plain ONNX file, or packed form.
    pub sha256: Sha256Digest,
}

impl Context {
    /// `{"model":…,"sha256":…,"version":…}` in the canonical form of RFC 8785.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        // None of the three types admits a character that JSON escapes, and the names stand in order.
        let Self {
            model,
            version,
            sha256,
        } = self;
        format!(r#"{{"model":"{model}","sha256":"{sha256}","version":"{version}"}}"#).into_bytes()
    }

    /// The context of another file of the same model, by the SHA-256 of its plain bytes.
    #[must_use]
    pub fn of_file(&self, sha256: Sha256Digest) -> Self {
        Self {
            sha256,
            ..self.clone()
        }
    }

    /// The same as a map of strings: the encryption context of a key service.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("model".to_owned(), self.model.to_string()),
            ("sha256".to_owned(), self.sha256.to_string()),
            ("version".to_owned(), self.version.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_canonical_json_of_its_map() {
        let context = Context {
            model: ModelName::parse("spx-direction").unwrap(),
            version: ModelVersion::parse("1.2.3-rc.1").unwrap(),
            sha256: Sha256Digest::of(b"model"),
        };
        assert_eq!(
            context.to_canonical_json(),
            serde_json_canonicalizer::to_vec(&context.to_map()).unwrap()
        );
        assert_eq!(
            String::from_utf8(context.to_canonical_json()).unwrap(),
            "{\"model\":\"spx-direction\",\
             \"sha256\":\"9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4\",\
             \"version\":\"1.2.3-rc.1\"}"
        );
    }
}
