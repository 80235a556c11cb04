//! Everything of an artifact and of a stream that is read before it is trusted.
#![no_main]

use artifact::container::{DataKey, Salt, decrypt, encrypt};
use artifact::{Manifest, Sidecar, signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = DataKey::new([1; 32]);
    let _ = decrypt(&key, b"context", bytes);
    // A valid container, cut or with one byte changed, as the first four bytes say.
    if let [at, high, low, change, plain @ ..] = bytes {
        let mut sealed = encrypt(&key, &Salt([2; 24]), b"context", plain).expect("it is short enough");
        assert_eq!(decrypt(&key, b"context", &sealed).expect("it is whole").as_slice(), plain);
        let place = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
        if at % 2 == 0 {
            sealed.truncate(place);
        } else {
            sealed[place] ^= change | 1;
        }
        assert!(decrypt(&key, b"context", &sealed).is_err());
    }
    if let Ok(manifest) = Manifest::from_json(bytes) {
        let canonical = manifest.to_canonical_json().expect("a valid manifest has a canonical form");
        assert_eq!(Manifest::from_json(&canonical).as_ref(), Ok(&manifest));
    }
    let _ = Sidecar::from_json(bytes);
    let _ = signature::verify(bytes, &[], 0);
    let _ = audit::export::parse_registration_line(bytes);
    let _ = audit::export::parse_record_line(bytes);
});
