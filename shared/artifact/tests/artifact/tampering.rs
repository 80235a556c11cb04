//! One flipped bit, or one byte less, in any file of an artifact.

use std::sync::LazyLock;

use artifact::seal::SealedArtifact;
use proptest::prelude::*;

use crate::support::{load, sealed, sidecar};

/// The four files, in the order manifest, container, signature, sidecar.
static FILES: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let artifact = sealed();
    let key_json = sidecar(&artifact).to_json().unwrap();
    let SealedArtifact {
        manifest_json,
        sealed,
        bundle,
        ..
    } = artifact;
    [manifest_json, sealed, bundle, key_json]
});

fn load_files(
    [manifest_json, sealed, bundle, key_json]: &[Vec<u8>; 4],
) -> Result<(), &'static str> {
    load(
        artifact::ArtifactFiles {
            manifest_json,
            sealed: Some(sealed),
            packed: None,
            bundle,
        },
        key_json,
    )
    .map(|_| ())
}

#[test]
fn the_files_load_as_they_are() {
    load_files(&FILES).unwrap();
}

/// Every bit of the two small files that are not covered by the signature's digests.
#[test]
fn every_flipped_bit_of_the_signature_and_of_the_sidecar_is_refused() {
    for file in [2, 3] {
        for at in 0..FILES[file].len() {
            for bit in 0..8 {
                let mut files = FILES.clone();
                files[file][at] ^= 1_u8 << bit;
                assert!(
                    load_files(&files).is_err(),
                    "file {file}, byte {at}, bit {bit}"
                );
            }
        }
    }
}

#[test]
fn every_truncation_of_the_signature_and_of_the_sidecar_is_refused() {
    for file in [2, 3] {
        for len in 0..FILES[file].len() {
            let mut files = FILES.clone();
            files[file].truncate(len);
            assert!(load_files(&files).is_err(), "file {file}, {len} bytes");
        }
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_of_any_file_is_refused(
        file in 0_usize..4,
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut files = FILES.clone();
        let at = at.index(files[file].len());
        files[file][at] ^= 1_u8 << bit;
        let code = load_files(&files).unwrap_err();
        if file < 2 {
            prop_assert_eq!(code, "artifact.digest_mismatch");
        }
    }

    #[test]
    fn any_truncation_of_any_file_is_refused(file in 0_usize..4, len in any::<prop::sample::Index>()) {
        let mut files = FILES.clone();
        let len = len.index(files[file].len());
        files[file].truncate(len);
        prop_assert!(load_files(&files).is_err());
    }

    #[test]
    fn a_file_with_bytes_after_it_is_refused(file in 0_usize..4, more in prop::collection::vec(any::<u8>(), 1..40)) {
        // White space after JSON changes nothing that is read, but the manifest is covered by its digest.
        prop_assume!(file < 2 || !more.iter().all(u8::is_ascii_whitespace));
        let mut files = FILES.clone();
        files[file].extend(more);
        prop_assert!(load_files(&files).is_err());
    }

    #[test]
    fn arbitrary_bytes_in_place_of_a_file_are_refused(
        file in 0_usize..4,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut files = FILES.clone();
        files[file] = bytes;
        prop_assert!(load_files(&files).is_err());
    }
}
