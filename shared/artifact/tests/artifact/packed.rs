//! The packed form: a second container under the same key and signature.

use artifact::manifest::{ModelFile, PackedFile};
use artifact::seal::{self, PackedModel, SealedArtifact};
use artifact::{
    ArtifactFiles, Context, DataKey, Manifest, Salt, Sha256Digest, Verified, container, open,
    signature,
};

use crate::support::{
    MANIFEST, NOW, ONNX, PACKED, data_key, expected, manifest, public_key, sealed,
    sealed_with_packed, sign, trusted,
};

fn verify(files: ArtifactFiles<'_>) -> Result<Verified<'_>, &'static str> {
    open::verify(files, &expected(), &trusted(1), NOW).map_err(|error| error.code())
}

/// The artifact with another content of its packed container, signed anew.
fn with_packed(manifest_json: &[u8], packed: Vec<u8>) -> SealedArtifact {
    let artifact = sealed_with_packed();
    let files = [
        ("manifest.json", Sha256Digest::of(manifest_json)),
        ("model.onnx.sealed", Sha256Digest::of(&artifact.sealed)),
        ("model.packed.sealed", Sha256Digest::of(&packed)),
    ];
    let unsigned = signature::state("any", &files, &[]).unwrap();
    let der = sign(1, unsigned.pae());
    SealedArtifact {
        manifest_json: manifest_json.to_vec(),
        packed: Some(packed),
        bundle: unsigned.into_bundle(&der, &public_key(1)).unwrap(),
        ..artifact
    }
}

#[test]
fn both_containers_open_to_what_was_sealed() {
    let artifact = sealed_with_packed();
    let verified = verify(artifact.files()).unwrap();
    let packed = PackedFile {
        format: 1,
        sha256: Sha256Digest::of(PACKED),
        size: PACKED.len() as u64,
    };
    assert_eq!(verified.manifest().packed, Some(packed));
    assert_eq!(*verified.open(&data_key()).unwrap().onnx, ONNX);
    assert_eq!(*verified.open_packed(&data_key()).unwrap(), PACKED);
}

#[test]
fn packed_form_opens_without_the_onnx_file() {
    let artifact = sealed_with_packed();
    let alone = ArtifactFiles {
        sealed: None,
        ..artifact.files()
    };
    let verified = verify(alone).unwrap();
    let whole = verify(artifact.files()).unwrap();
    assert_eq!(verified.digest(), whole.digest());
    assert_eq!(*verified.open_packed(&data_key()).unwrap(), PACKED);
    let error = verified.open(&data_key()).unwrap_err();
    assert_eq!(error.code(), "artifact.file_missing");
}

#[test]
fn onnx_file_alone_is_refused_where_a_packed_form_was_signed() {
    let artifact = sealed_with_packed();
    for sealed in [Some(&*artifact.sealed), None] {
        let files = ArtifactFiles {
            sealed,
            packed: None,
            ..artifact.files()
        };
        assert_eq!(verify(files).unwrap_err(), "artifact.file_missing");
    }
}

#[test]
fn packed_form_that_was_not_signed_is_refused() {
    let (without, with) = (sealed(), sealed_with_packed());
    let files = ArtifactFiles {
        packed: with.packed.as_deref(),
        ..without.files()
    };
    assert_eq!(verify(files).unwrap_err(), "artifact.files_mismatch");
    let verified = verify(without.files()).unwrap();
    let error = verified.open_packed(&data_key()).unwrap_err();
    assert_eq!(error.code(), "artifact.file_missing");
}

#[test]
fn manifest_and_signature_agree_on_whether_there_is_a_packed_form() {
    let plain = sealed();
    let packed = sealed_with_packed();
    let artifact = with_packed(&plain.manifest_json, packed.packed.clone().unwrap());
    assert_eq!(
        verify(artifact.files()).unwrap_err(),
        "artifact.files_mismatch"
    );
}

#[test]
fn every_flipped_bit_of_the_packed_container_is_refused() {
    let artifact = sealed_with_packed();
    let container = artifact.packed.clone().unwrap();
    for at in 0..container.len() {
        let mut flipped = container.clone();
        flipped[at] ^= 1;
        let files = ArtifactFiles {
            packed: Some(&flipped),
            ..artifact.files()
        };
        assert_eq!(
            verify(files).unwrap_err(),
            "artifact.digest_mismatch",
            "byte {at}"
        );
    }
}

#[test]
fn containers_do_not_stand_in_for_each_other() {
    let artifact = sealed_with_packed();
    let swapped = with_packed(&artifact.manifest_json, artifact.sealed.clone());
    let verified = verify(swapped.files()).unwrap();
    let error = verified.open_packed(&data_key()).unwrap_err();
    assert_eq!(error.code(), "artifact.commitment_mismatch");
}

#[test]
fn signed_container_of_another_packed_form_is_refused() {
    let artifact = sealed_with_packed();
    let context = Context {
        sha256: Sha256Digest::of(PACKED),
        ..artifact.context.clone()
    };
    let other = container::encrypt(
        &data_key(),
        &Salt([7; 24]),
        &context.to_canonical_json(),
        b"another packed form",
    );
    let changed = with_packed(&artifact.manifest_json, other.unwrap());
    let verified = verify(changed.files()).unwrap();
    let error = verified.open_packed(&data_key()).unwrap_err();
    assert_eq!(error.code(), "artifact.packed_digest_mismatch");
    let other_key = DataKey::new([1; 32]);
    let error = verified.open_packed(&other_key).unwrap_err();
    assert_eq!(error.code(), "artifact.commitment_mismatch");
}

#[test]
fn sealing_anew_replaces_what_the_manifest_says_of_the_packed_form() {
    let first = sealed_with_packed();
    let again = Manifest::from_json(&first.manifest_json).unwrap();
    let unsigned = seal::seal(again, ONNX, &data_key(), &Salt([3; 24])).unwrap();
    let der = sign(1, unsigned.pae());
    let artifact = unsigned.sign(&der, &public_key(1)).unwrap();
    assert_eq!(verify(artifact.files()).unwrap().manifest().packed, None);
}

#[test]
fn empty_packed_form_is_not_sealed() {
    let packed = PackedModel {
        format: 1,
        bytes: b"",
        salt: Salt([1; 24]),
    };
    let error = seal::seal_packed(manifest(), ONNX, packed, &data_key(), &Salt([2; 24]));
    assert_eq!(error.unwrap_err().code(), "artifact.model_empty");
}

#[test]
fn manifest_with_an_impossible_packed_form_is_refused() {
    let sha256 = Sha256Digest::of(PACKED);
    let model = Some(ModelFile { sha256, size: 1 });
    for (model, format, size, path) in [
        (None, 1, 1, "packed"),
        (model, 0, 1, "packed.format"),
        (model, 1, 0, "packed.size"),
    ] {
        let manifest = Manifest {
            model,
            packed: Some(PackedFile {
                format,
                sha256,
                size,
            }),
            ..Manifest::from_json(MANIFEST).unwrap()
        };
        let faults = manifest.validate().unwrap_err();
        assert_eq!(faults[0].path, path);
    }
}
