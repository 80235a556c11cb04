//! What is sealed, and what is refused before it is.

use artifact::manifest::ModelFile;
use artifact::seal::{self, SealError};
use artifact::{Manifest, Salt, Sha256Digest};

use crate::support::{
    MANIFEST, ONNX, data_key, load, manifest, public_key, seal_as, sealed, sidecar, sign,
};

const SALT: Salt = Salt([0xa1; 24]);

#[test]
fn a_sealed_model_is_loaded_again() {
    let artifact = sealed();
    let opened = load(artifact.files(), &sidecar(&artifact).to_json().unwrap()).unwrap();
    assert_eq!(*opened.onnx, ONNX);
    let model = ModelFile {
        sha256: Sha256Digest::of(ONNX),
        size: ONNX.len() as u64,
    };
    assert_eq!(
        opened.manifest,
        Manifest {
            model: Some(model),
            ..manifest()
        }
    );
}

#[test]
fn sealing_fills_in_the_model_and_writes_canonical_json() {
    let artifact = sealed();
    let written = Manifest::from_json(&artifact.manifest_json).unwrap();
    assert_eq!(written.model.unwrap().sha256, Sha256Digest::of(ONNX));
    assert_eq!(written.to_canonical_json().unwrap(), artifact.manifest_json);
}

#[test]
fn the_plain_model_does_not_stand_in_the_container() {
    let artifact = sealed();
    for window in ONNX.chunks_exact(32) {
        assert!(!artifact.sealed.windows(32).any(|found| found == window));
    }
}

#[test]
fn a_manifest_that_names_this_model_is_sealed_and_one_that_names_another_is_not() {
    let first = sealed();
    let again = Manifest::from_json(&first.manifest_json).unwrap();
    assert_eq!(seal_as(again.clone(), ONNX), first);
    let error = seal::seal(again, b"another model", &data_key(), &SALT).unwrap_err();
    assert!(matches!(error, SealError::OtherModel { .. }), "{error}");
    assert_eq!(error.code(), "artifact.model_digest_mismatch");
}

#[test]
fn an_empty_model_and_an_invalid_manifest_are_not_sealed() {
    let error = seal::seal(manifest(), b"", &data_key(), &SALT).unwrap_err();
    assert_eq!(error.code(), "artifact.model_empty");
    let invalid = Manifest {
        owner: String::new(),
        ..Manifest::from_json(MANIFEST).unwrap()
    };
    let error = seal::seal(invalid, ONNX, &data_key(), &SALT).unwrap_err();
    assert_eq!(error.code(), "artifact.manifest_invalid");
    assert!(
        error.to_string().starts_with("manifest: owner: "),
        "{error}"
    );
}

#[test]
fn another_keys_signature_makes_no_artifact() {
    let unsigned = seal::seal(manifest(), ONNX, &data_key(), &SALT).unwrap();
    let der = sign(2, unsigned.pae());
    let error = unsigned.sign(&der, &public_key(1)).unwrap_err();
    assert_eq!(error.code(), "artifact.signature_unusable");
}
