//! The object that makes a version exist: digest and size of each file as it was created.

use artifact::Sha256Digest;
use domain::ports::ArtifactFiles;
use serde::{Deserialize, Serialize};

/// Name of the marker.
pub(super) const COMPLETE_FILE: &str = "complete.json";
/// Longest marker that is read, in bytes.
pub(super) const MAX_MARKER_BYTES: u64 = 4096;

/// The version tag of the marker's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MarkerFormat {
    #[serde(rename = "sealcast.artifact/v1")]
    V1,
}

/// Which files a version was created with. The same files give the same bytes, so that of rivals only those who
/// brought the same can write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    pub(super) format: MarkerFormat,
    pub(super) manifest: Digested,
    pub(super) container: Digested,
    /// The container of the packed form; none for a model that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) packed: Option<Digested>,
    pub(super) bundle: Digested,
    /// The sidecar as it was at first; it may have been replaced since.
    pub(super) sidecar: Digested,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Digested {
    pub(super) sha256: Sha256Digest,
    pub(super) size: u64,
}

impl Digested {
    fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Sha256Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }
}

impl Marker {
    pub(super) fn of(files: &ArtifactFiles) -> Self {
        Self {
            format: MarkerFormat::V1,
            manifest: Digested::of(&files.manifest),
            container: Digested::of(&files.sealed),
            packed: files.packed.as_deref().map(Digested::of),
            bundle: Digested::of(&files.bundle),
            sidecar: Digested::of(&files.sidecar),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    pub(super) fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_and_an_unknown_form_does_not() {
        let marker = Marker::of(&testkit::build::artifact_files("a"));
        let json = marker.to_json();
        assert!(json.len() as u64 <= MAX_MARKER_BYTES);
        assert_eq!(Marker::from_json(&json).unwrap(), marker);
        let later = String::from_utf8(json).unwrap().replace("/v1", "/v2");
        assert!(Marker::from_json(later.as_bytes()).is_err());
    }

    #[test]
    fn every_file_decides_over_the_marker() {
        let files = testkit::build::artifact_files("a");
        let other = testkit::build::artifact_files("b");
        let marker = Marker::of(&files);
        for changed in [
            ArtifactFiles {
                manifest: other.manifest,
                ..files.clone()
            },
            ArtifactFiles {
                sealed: other.sealed,
                ..files.clone()
            },
            ArtifactFiles {
                packed: Some(b"packed".to_vec()),
                ..files.clone()
            },
            ArtifactFiles {
                bundle: other.bundle,
                ..files.clone()
            },
            ArtifactFiles {
                sidecar: other.sidecar,
                ..files.clone()
            },
        ] {
            assert_ne!(Marker::of(&changed), marker);
        }
    }
}
