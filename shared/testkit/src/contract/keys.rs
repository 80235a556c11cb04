use domain::ports::{KeyContext, KeyUnwrapper, KeyWrapper, Signer};
use ed25519_dalek::pkcs8::DecodePublicKey;
use p256::ecdsa::signature::Verifier;

use super::{assert_corrupt, assert_not_found};

/// What [`KeyWrapper`] and [`KeyUnwrapper`] promise for the keys `key_id` and `other_key_id`, which both exist.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn key_contract(
    wrapper: &dyn KeyWrapper,
    unwrapper: &dyn KeyUnwrapper,
    key_id: &str,
    other_key_id: &str,
) {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let context = KeyContext::from([pair("model", "m"), pair("version", "1.0.0")]);
    let (key, sealed) = wrapper
        .generate(key_id, &context)
        .await
        .expect("a data key");
    let again = unwrapper
        .unwrap(key_id, &sealed, &context)
        .await
        .expect("the data key");
    assert_eq!(
        again.expose(),
        key.expose(),
        "what is unwrapped is what was generated"
    );
    let (second, second_sealed) = wrapper
        .generate(key_id, &context)
        .await
        .expect("a data key");
    assert_ne!(second.expose(), key.expose(), "every data key is another");
    assert_ne!(second_sealed, sealed);
    let holds = |bytes: &[u8]| bytes.windows(32).any(|part| part == key.expose());
    assert!(!holds(&sealed), "a wrapped key does not hold the plain one");

    for other in [
        KeyContext::new(),
        KeyContext::from([pair("model", "m")]),
        KeyContext::from([pair("model", "m"), pair("version", "1.0.1")]),
        KeyContext::from([
            pair("model", "m"),
            pair("version", "1.0.0"),
            pair("more", "x"),
        ]),
        KeyContext::from([pair("model", "1.0.0"), pair("version", "m")]),
    ] {
        assert_corrupt(
            &unwrapper.unwrap(key_id, &sealed, &other).await,
            "another context",
        );
    }
    for position in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[position] ^= 0x20;
        assert_corrupt(
            &unwrapper.unwrap(key_id, &changed, &context).await,
            "a changed byte",
        );
        let short = unwrapper
            .unwrap(key_id, &sealed[..position], &context)
            .await;
        assert_corrupt(&short, "missing bytes");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert_corrupt(
        &unwrapper.unwrap(key_id, &longer, &context).await,
        "a byte too many",
    );
    assert_corrupt(
        &unwrapper.unwrap(other_key_id, &sealed, &context).await,
        "another key",
    );

    let unknown = unwrapper.unwrap("no-such-key", &sealed, &context).await;
    assert_not_found(&unknown, "an unknown key");
    assert_not_found(
        &wrapper.generate("no-such-key", &context).await,
        "an unknown key",
    );
}

/// What a signer signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerKind {
    /// Ed25519, 64-byte signatures.
    Ed25519,
    /// ECDSA P-256 with SHA-256, DER signatures.
    P256,
}

/// What [`Signer`] promises, for a key of this kind.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn signer_contract(signer: &dyn Signer, kind: SignerKind) {
    assert!(!signer.key_id().trim().is_empty(), "a key has an id");
    let pem = signer.public_key_pem().await.expect("a public key");
    assert_eq!(
        signer.public_key_pem().await.as_ref(),
        Ok(&pem),
        "a key stays the same"
    );
    for message in [&b"message"[..], b"", &[0xff; 4096]] {
        let signature = signer.sign(message).await.expect("a signature");
        assert!(
            verifies(kind, &pem, message, &signature),
            "the signature verifies under the public key"
        );
        let other = [message, b"!"].concat();
        assert!(
            !verifies(kind, &pem, &other, &signature),
            "and over the message alone"
        );
    }
}

fn verifies(kind: SignerKind, pem: &str, message: &[u8], signature: &[u8]) -> bool {
    match kind {
        SignerKind::Ed25519 => {
            let key =
                ed25519_dalek::VerifyingKey::from_public_key_pem(pem).expect("SPKI of Ed25519");
            let signature = ed25519_dalek::Signature::from_slice(signature).expect("64 bytes");
            key.verify_strict(message, &signature).is_ok()
        }
        SignerKind::P256 => {
            let key = p256::ecdsa::VerifyingKey::from_public_key_pem(pem).expect("SPKI of P-256");
            let signature = p256::ecdsa::DerSignature::from_bytes(signature).expect("DER");
            key.verify(message, &signature).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestSigner;

    #[tokio::test]
    async fn the_test_signer_keeps_the_contract() {
        signer_contract(&TestSigner::new(3), SignerKind::Ed25519).await;
    }
}
