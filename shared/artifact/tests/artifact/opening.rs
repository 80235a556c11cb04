//! What is refused before anything is given out, each by its own code.

use artifact::container;
use artifact::seal::SealedArtifact;
use artifact::signature;
use artifact::{
    ArtifactFiles, Context, DataKey, Manifest, ModelName, ModelVersion, Salt, Sha256Digest,
    Sidecar, TrustedKey, open,
};

use crate::support::{
    KEY_ID, NOW, ONNX, data_key, expected, manifest, public_key, seal_as, sealed, sidecar, sign,
    trusted, wrap,
};

/// The code with which verification ends; empty where it succeeds.
fn verify_code(files: ArtifactFiles<'_>) -> &'static str {
    open::verify(files, &expected(), &trusted(1), NOW)
        .err()
        .map_or("", |error| error.code())
}

/// An artifact of any bytes whose signature is right: what a careless or hostile holder of the key could make.
fn signed(manifest_json: &[u8], sealed: &[u8], names: [&str; 2]) -> SealedArtifact {
    let files = [
        (names[0], Sha256Digest::of(manifest_json)),
        (names[1], Sha256Digest::of(sealed)),
    ];
    let unsigned = signature::state("any", &files, &[]).unwrap();
    let der = sign(1, unsigned.pae());
    SealedArtifact {
        manifest_json: manifest_json.to_vec(),
        sealed: sealed.to_vec(),
        packed: None,
        bundle: unsigned.into_bundle(&der, &public_key(1)).unwrap(),
        context: crate::support::sealed().context,
    }
}

const NAMES: [&str; 2] = ["manifest.json", "model.onnx.sealed"];

#[test]
fn what_is_verified_says_what_it_is() {
    let artifact = sealed();
    let verified = open::verify(artifact.files(), &expected(), &trusted(1), NOW).unwrap();
    assert_eq!(verified.context(), &artifact.context);
    assert_eq!(verified.manifest().name, expected().0);
    assert_eq!(verified.signed_by(), public_key(1).hint());
    let digests = [
        Sha256Digest::of(&artifact.manifest_json).0,
        Sha256Digest::of(&artifact.sealed).0,
    ];
    assert_eq!(verified.digest(), Sha256Digest::of(&digests.concat()));
}

#[test]
fn files_of_another_signature_are_refused() {
    let (first, second) = (sealed(), seal_as(manifest(), b"another model"));
    let files = first.files();
    for (files, code) in [
        (files, ""),
        (
            ArtifactFiles {
                sealed: Some(&second.sealed),
                ..files
            },
            "artifact.digest_mismatch",
        ),
        (
            ArtifactFiles {
                manifest_json: &second.manifest_json,
                ..files
            },
            "artifact.digest_mismatch",
        ),
        (
            ArtifactFiles {
                bundle: &second.bundle,
                ..files
            },
            "artifact.digest_mismatch",
        ),
        (
            ArtifactFiles {
                sealed: Some(&first.sealed[..100]),
                ..files
            },
            "artifact.digest_mismatch",
        ),
        (
            ArtifactFiles {
                bundle: b"{}",
                ..files
            },
            "artifact.signature_malformed",
        ),
    ] {
        assert_eq!(verify_code(files), code);
    }
}

#[test]
fn an_artifact_of_another_model_or_version_in_its_place_is_refused() {
    for (name, version) in [("spx-direction", "1.0.0"), ("spx-direction-mlp", "1.0.1")] {
        let other = Manifest {
            name: ModelName::parse(name).unwrap(),
            version: ModelVersion::parse(version).unwrap(),
            ..manifest()
        };
        let error =
            open::verify(seal_as(other, ONNX).files(), &expected(), &trusted(1), NOW).unwrap_err();
        assert_eq!(error.code(), "artifact.wrong_model");
        assert_eq!(
            error.to_string(),
            format!("artifact: expected spx-direction-mlp@1.0.0, found {name}@{version}")
        );
    }
}

#[test]
fn an_unknown_or_expired_key_is_refused() {
    let artifact = sealed();
    let verify = |trusted: &[TrustedKey]| {
        open::verify(artifact.files(), &expected(), trusted, NOW)
            .err()
            .map_or("", |error| error.code())
    };
    assert_eq!(verify(&trusted(2)), "artifact.key_unknown");
    let old = TrustedKey {
        key: public_key(1),
        not_before: None,
        not_after: Some(NOW - 1),
    };
    assert_eq!(verify(&[old]), "artifact.key_outside_validity");
}

#[test]
fn a_signature_over_other_files_is_refused() {
    let artifact = sealed();
    for names in [
        ["manifest.json", "other"],
        ["a", "model.onnx.sealed"],
        ["manifest.json", "x/model.onnx.sealed"],
    ] {
        let other = signed(&artifact.manifest_json, &artifact.sealed, names);
        assert_eq!(
            verify_code(other.files()),
            "artifact.files_mismatch",
            "{names:?}"
        );
    }
}

#[test]
fn a_signed_manifest_is_validated_all_the_same() {
    let sealed = &sealed().sealed;
    let unsealed = manifest().to_canonical_json().unwrap();
    for (manifest_json, code) in [
        (unsealed.as_slice(), "artifact.manifest_unsealed"),
        (b"{", "artifact.manifest_malformed"),
        (
            br#"{"format":"sealcast.manifest/v2"}"#,
            "artifact.manifest_format_unknown",
        ),
    ] {
        assert_eq!(
            verify_code(signed(manifest_json, sealed, NAMES).files()),
            code
        );
    }
}

#[test]
fn another_models_sidecar_is_refused_before_the_key_service_is_asked() {
    let artifact = sealed();
    let verified = open::verify(artifact.files(), &expected(), &trusted(1), NOW).unwrap();
    let own = sidecar(&artifact);
    verified.check_sidecar(&own).unwrap();
    for (field, context) in [
        (
            "model",
            Context {
                model: ModelName::parse("other").unwrap(),
                ..own.context.clone()
            },
        ),
        (
            "version",
            Context {
                version: ModelVersion::parse("1.0.1").unwrap(),
                ..own.context.clone()
            },
        ),
        (
            "sha256",
            Context {
                sha256: Sha256Digest::of(b"other"),
                ..own.context.clone()
            },
        ),
    ] {
        let error = verified
            .check_sidecar(&Sidecar {
                context,
                ..own.clone()
            })
            .unwrap_err();
        assert_eq!(error.code(), "artifact.sidecar_mismatch");
        assert!(
            error
                .to_string()
                .starts_with(&format!("sidecar {field}: expected ")),
            "{error}"
        );
    }
}

#[test]
fn the_key_may_be_wrapped_anew_without_touching_the_signed_files() {
    let artifact = sealed();
    let rewrapped = Sidecar {
        wrapped_key: wrap(&data_key(), &artifact.context),
        ..sidecar(&artifact)
    };
    assert_eq!(rewrapped.key_id, KEY_ID);
    assert!(crate::support::load(artifact.files(), &rewrapped.to_json().unwrap()).is_ok());
}

#[test]
fn another_data_key_fails_at_the_commitment() {
    let artifact = sealed();
    let verified = open::verify(artifact.files(), &expected(), &trusted(1), NOW).unwrap();
    let error = verified.open(&DataKey::new([0; 32])).unwrap_err();
    assert_eq!(error.code(), "artifact.commitment_mismatch");
    // The right key still opens it afterwards.
    assert_eq!(*verified.open(&data_key()).unwrap().onnx, ONNX);
}

#[test]
fn a_signed_container_that_is_truncated_or_changed_is_refused() {
    let artifact = sealed();
    let mut changed = artifact.sealed.clone();
    changed[60] ^= 1;
    for (sealed, code) in [
        (&artifact.sealed[..20], "artifact.too_short"),
        (&artifact.sealed[..56], "artifact.truncated"),
        (&artifact.sealed[..60], "artifact.impossible_length"),
        (&artifact.sealed[..100], "artifact.chunk_unauthentic"),
        (&changed, "artifact.chunk_unauthentic"),
    ] {
        let artifact = signed(&artifact.manifest_json, sealed, NAMES);
        let verified = open::verify(artifact.files(), &expected(), &trusted(1), NOW).unwrap();
        assert_eq!(verified.open(&data_key()).unwrap_err().code(), code);
    }
}

#[test]
fn a_container_that_holds_another_model_than_the_manifest_names_is_refused() {
    let artifact = sealed();
    let context = artifact.context.to_canonical_json();
    for plain in [&b"another model"[..], &ONNX[1..], b""] {
        let sealed = container::encrypt(&data_key(), &Salt([1; 24]), &context, plain).unwrap();
        let artifact = signed(&artifact.manifest_json, &sealed, NAMES);
        let verified = open::verify(artifact.files(), &expected(), &trusted(1), NOW).unwrap();
        let error = verified.open(&data_key()).unwrap_err();
        assert_eq!(error.code(), "artifact.model_digest_mismatch");
    }
}
