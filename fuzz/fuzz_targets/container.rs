//! Everything of an artifact and of a stream that is read before it is trusted.
#![no_main]

use artifact::container::{DataKey, decrypt};
use artifact::{Manifest, Sidecar, signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decrypt(&DataKey::new([1; 32]), b"context", bytes);
    if let Ok(manifest) = Manifest::from_json(bytes) {
        let canonical = manifest.to_canonical_json().expect("a valid manifest has a canonical form");
        assert_eq!(Manifest::from_json(&canonical).as_ref(), Ok(&manifest));
    }
    let _ = Sidecar::from_json(bytes);
    let _ = signature::verify(bytes, &[], 0);
    let _ = audit::export::parse_registration_line(bytes);
    let _ = audit::export::parse_record_line(bytes);
});
