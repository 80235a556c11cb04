use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};
use serde_json::{Value, json};

use super::*;

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32].into()).unwrap()
}

fn public_key(seed: u8) -> PublicKey {
    let pem = signing_key(seed)
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    PublicKey::from_pem(&pem).unwrap()
}

fn sign(seed: u8, bytes: &[u8]) -> Vec<u8> {
    let signature: DerSignature = signing_key(seed).sign(bytes);
    signature.as_bytes().to_vec()
}

fn trusted(seed: u8) -> TrustedKey {
    TrustedKey::always(public_key(seed))
}

fn unsigned() -> Unsigned {
    let files = [("b", Sha256Digest::of(b"B")), ("a", Sha256Digest::of(b"A"))];
    state("m@1.0.0", &files, &["key.json"]).unwrap()
}

fn bundle() -> Vec<u8> {
    let unsigned = unsigned();
    let der = sign(1, unsigned.pae());
    unsigned.into_bundle(&der, &public_key(1)).unwrap()
}

/// The bundle with `value` put at the JSON pointer `at`.
fn changed(at: &str, value: Value) -> Vec<u8> {
    let mut bundle: Value = serde_json::from_slice(&bundle()).unwrap();
    *bundle.pointer_mut(at).unwrap() = value;
    serde_json::to_vec(&bundle).unwrap()
}

/// A properly signed bundle of any payload.
fn bundle_of(payload: &Value) -> Vec<u8> {
    let payload = serde_json::to_vec(payload).unwrap();
    let der = sign(1, &bundle::pae(bundle::PAYLOAD_TYPE, &payload));
    bundle::write(&payload, &der, public_key(1).hint()).unwrap()
}

fn payload() -> Value {
    let bundle: Value = serde_json::from_slice(&bundle()).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap()
}

fn payload_with(at: &str, value: Value) -> Vec<u8> {
    let mut payload = payload();
    *payload.pointer_mut(at).unwrap() = value;
    bundle_of(&payload)
}

#[test]
fn a_signed_statement_is_read_back_sorted() {
    let statement = verify(&bundle(), &[trusted(2), trusted(1)], 0).unwrap();
    assert_eq!(statement.subject, "m@1.0.0");
    assert_eq!(statement.signed_by, public_key(1).hint());
    let names: Vec<&str> = statement
        .resources
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(statement.resources[1].digest, Sha256Digest::of(b"B"));
    let all = [Sha256Digest::of(b"A").0, Sha256Digest::of(b"B").0].concat();
    assert_eq!(statement.digest, Sha256Digest::of(&all));
}

#[test]
fn the_pre_authentication_encoding_is_that_of_dsse() {
    // The example of the DSSE specification, protocol.md.
    assert_eq!(
        bundle::pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}

#[test]
fn the_bundle_has_the_form_of_sigstore() {
    let bundle: Value = serde_json::from_slice(&bundle()).unwrap();
    assert_eq!(
        bundle["mediaType"],
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    );
    assert_eq!(
        bundle["verificationMaterial"],
        json!({"publicKey": {"hint": public_key(1).hint()}, "tlogEntries": []})
    );
    assert_eq!(
        payload()["predicate"]["serialization"]["ignore_paths"],
        json!(["key.json"])
    );
}

#[test]
fn a_key_that_is_not_trusted_has_its_own_error() {
    let expected = SignatureError::UnknownKey {
        hint: public_key(1).hint().to_owned(),
    };
    assert_eq!(verify(&bundle(), &[trusted(2)], 0), Err(expected.clone()));
    assert_eq!(verify(&bundle(), &[], 0), Err(expected));
}

#[test]
fn a_key_is_trusted_only_inside_its_window() {
    let key = TrustedKey {
        key: public_key(1),
        not_before: Some(100),
        not_after: Some(200),
    };
    for (now, valid) in [(99, false), (100, true), (200, true), (201, false)] {
        let result = verify(&bundle(), std::slice::from_ref(&key), now);
        match result {
            Ok(_) => assert!(valid, "{now}"),
            Err(error) => {
                assert!(!valid, "{now}");
                assert_eq!(error.code(), "artifact.key_outside_validity");
            }
        }
    }
    // The same key may be trusted again later.
    let again = TrustedKey {
        key: public_key(1),
        not_before: Some(300),
        not_after: None,
    };
    assert!(verify(&bundle(), &[key, again], 300).is_ok());
}

#[test]
fn a_signature_over_other_bytes_is_invalid() {
    let der = sign(1, b"other bytes");
    let forged = changed(
        "/dsseEnvelope/signatures/0/sig",
        json!(STANDARD.encode(der)),
    );
    let hint = public_key(1).hint().to_owned();
    assert_eq!(
        verify(&forged, &[trusted(1)], 0),
        Err(SignatureError::Invalid { hint })
    );
}

#[test]
fn a_signature_of_another_key_under_a_trusted_hint_is_invalid() {
    let der = sign(2, unsigned().pae());
    let forged = changed(
        "/dsseEnvelope/signatures/0/sig",
        json!(STANDARD.encode(der)),
    );
    let error = verify(&forged, &[trusted(1), trusted(2)], 0).unwrap_err();
    assert_eq!(error.code(), "artifact.signature_invalid");
}

#[test]
fn another_payload_type_has_its_own_error() {
    let found = "text/plain".to_owned();
    assert_eq!(
        verify(
            &changed("/dsseEnvelope/payloadType", json!(found)),
            &[trusted(1)],
            0
        ),
        Err(SignatureError::PayloadType { found })
    );
}

#[test]
fn a_validly_signed_statement_about_something_else_is_refused() {
    let found = "https://slsa.dev/provenance/v1".to_owned();
    let other = payload_with("/predicateType", json!(found));
    assert_eq!(
        verify(&other, &[trusted(1)], 0),
        Err(SignatureError::Predicate { found })
    );
}

#[test]
fn a_predicate_of_another_kind_needs_no_fields_of_ours() {
    let other =
        json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "x", "subject": 1});
    let error = verify(&bundle_of(&other), &[trusted(1)], 0).unwrap_err();
    assert_eq!(error.code(), "artifact.predicate");
}

#[test]
fn a_signed_statement_that_contradicts_itself_is_refused() {
    let digest = Sha256Digest::of(b"B").to_string();
    let one = json!([{"name": "a", "algorithm": "sha256", "digest": digest}]);
    let twice = json!([one[0], one[0]]);
    for (at, value, field) in [
        (
            "/_type",
            json!("https://in-toto.io/Statement/v0.1"),
            "_type",
        ),
        ("/subject", json!([]), "subject"),
        (
            "/subject/0/digest/sha256",
            json!(digest),
            "subject[0].digest.sha256",
        ),
        (
            "/subject/0/digest",
            json!({"sha512": digest}),
            "subject[0].digest.sha256",
        ),
        ("/predicate/resources", one, "subject[0].digest.sha256"),
        ("/predicate/resources", twice, "predicate.resources[1].name"),
        (
            "/predicate/resources/0/name",
            json!("c"),
            "predicate.resources[1].name",
        ),
        (
            "/predicate/resources/0/name",
            json!("../a"),
            "predicate.resources[0].name",
        ),
        (
            "/predicate/resources/0/name",
            json!("/a"),
            "predicate.resources[0].name",
        ),
        (
            "/predicate/resources/0/algorithm",
            json!("blake2"),
            "predicate.resources[0].algorithm",
        ),
        (
            "/predicate/resources/0/digest",
            json!("00"),
            "predicate.resources[0].digest",
        ),
        (
            "/predicate/serialization/method",
            json!("shards"),
            "predicate.serialization.method",
        ),
        (
            "/predicate/serialization/hash_type",
            json!("blake3"),
            "predicate.serialization.hash_type",
        ),
        ("/predicate", json!({}), "predicate"),
    ] {
        match verify(&payload_with(at, value), &[trusted(1)], 0) {
            Err(SignatureError::Statement { field: found, .. }) => assert_eq!(found, field, "{at}"),
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn fields_of_the_predicate_that_are_unknown_are_left_alone() {
    let mut payload = payload();
    payload["predicate"]["model_card"] = json!("for other readers");
    assert!(verify(&bundle_of(&payload), &[trusted(1)], 0).is_ok());
}

#[test]
fn a_bundle_of_another_form_is_malformed() {
    let signature = changed("/dsseEnvelope/signatures", json!([]));
    let two = json!([{"sig": "AA==", "keyid": ""}, {"sig": "AA==", "keyid": ""}]);
    for (what, bytes) in [
        ("no signature", signature),
        ("two signatures", changed("/dsseEnvelope/signatures", two)),
        (
            "a key id",
            changed("/dsseEnvelope/signatures/0/keyid", json!("k")),
        ),
        (
            "not DER",
            changed("/dsseEnvelope/signatures/0/sig", json!("AAAA")),
        ),
        ("not base64", changed("/dsseEnvelope/payload", json!("A"))),
        (
            "another media type",
            changed("/mediaType", json!("application/json")),
        ),
        (
            "log entries",
            changed("/verificationMaterial/tlogEntries", json!([{}])),
        ),
        (
            "no hint",
            changed("/verificationMaterial/publicKey", json!({})),
        ),
        (
            "a certificate",
            changed("/verificationMaterial", json!({"certificate": {}})),
        ),
        (
            "an unknown field",
            changed(
                "/verificationMaterial/publicKey",
                json!({"hint": "", "x": 1}),
            ),
        ),
        ("trailing bytes", [bundle(), b"{}".to_vec()].concat()),
        ("no JSON", b"bundle".to_vec()),
        ("nothing", Vec::new()),
        ("too much", vec![b' '; MAX_BUNDLE_SIZE + 1]),
    ] {
        let error = verify(&bytes, &[trusted(1)], 0).unwrap_err();
        assert_eq!(
            error.code(),
            "artifact.signature_malformed",
            "{what}: {error}"
        );
    }
}

#[test]
fn a_signature_that_does_not_fit_makes_no_bundle() {
    assert_eq!(
        unsigned().into_bundle(b"no DER", &public_key(1)),
        Err(SignError::NotDer)
    );
    let der = sign(1, unsigned().pae());
    let trailing = [der.as_slice(), &[0]].concat();
    assert_eq!(
        unsigned().into_bundle(&trailing, &public_key(1)),
        Err(SignError::NotDer)
    );
    let hint = public_key(2).hint().to_owned();
    assert_eq!(
        unsigned().into_bundle(&der, &public_key(2)),
        Err(SignError::OtherKey { hint })
    );
}

#[test]
fn only_plain_relative_paths_are_stated() {
    let digest = Sha256Digest::of(b"");
    for name in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b"] {
        let error = state("m", &[(name, digest)], &[]).unwrap_err();
        assert_eq!(
            error,
            SignError::FileName {
                name: name.to_owned()
            }
        );
    }
    assert!(state("m", &[("a", digest), ("a", digest)], &[]).is_err());
    assert!(state("m", &[], &[]).is_err());
}

#[test]
fn paths_are_sorted_name_by_name() {
    // As text "a-b" comes before "a/b"; as paths it comes after.
    let digest = Sha256Digest::of(b"");
    let unsigned = state("m", &[("a-b", digest), ("a/b", digest)], &[]).unwrap();
    let der = sign(1, unsigned.pae());
    let bundle = unsigned.into_bundle(&der, &public_key(1)).unwrap();
    let statement = verify(&bundle, &[trusted(1)], 0).unwrap();
    let names: Vec<&str> = statement
        .resources
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["a/b", "a-b"]);
}

#[test]
fn a_public_key_reads_pem_and_der_alike() {
    let der = signing_key(1).verifying_key().to_public_key_der().unwrap();
    let key = PublicKey::from_der(der.as_bytes()).unwrap();
    assert_eq!(key, public_key(1));
    assert_eq!(
        PublicKey::from_pem(&key.to_pem().replace('\n', "\r\n")),
        Ok(key)
    );
    assert_eq!(
        PublicKey::from_pem("no key"),
        Err(PublicKeyError { encoding: "PEM" })
    );
    assert_eq!(
        PublicKey::from_der(&[0; 91]),
        Err(PublicKeyError { encoding: "DER" })
    );
}

#[test]
fn the_digest_to_be_signed_is_that_of_the_encoding() {
    let unsigned = unsigned();
    assert_eq!(unsigned.pae_digest(), Sha256Digest::of(unsigned.pae()));
    assert!(
        unsigned
            .pae()
            .starts_with(b"DSSEv1 28 application/vnd.in-toto+json ")
    );
}

#[test]
fn a_list_of_trusted_keys_reads_back_as_it_was_written() {
    let windowed = TrustedKey {
        key: public_key(2),
        not_before: Some(1_767_225_600),
        not_after: Some(1_798_761_599),
    };
    let until = TrustedKey {
        not_before: None,
        ..windowed.clone()
    };
    let keys = vec![trusted(1), windowed, until];
    let text = TrustedKey::write_list(&keys);
    assert!(text.contains(";from=2026-01-01T00:00:00Z;until=2026-12-31T23:59:59Z,"));
    assert_eq!(TrustedKey::parse_list(&text).unwrap(), keys);
    let spaced = text.replace(',', " ,\n ");
    assert_eq!(TrustedKey::parse_list(&spaced).unwrap(), keys);
}

#[test]
fn a_fault_in_a_list_of_trusted_keys_names_the_key_and_what_was_expected() {
    let good = trusted(1).to_string();
    for (text, number, expected) in [
        (String::new(), 1, "base64"),
        (format!("{good},"), 2, "base64"),
        (format!("{good},AAAA"), 2, "SubjectPublicKeyInfo"),
        (format!("{good}=,{good}"), 1, "base64"),
        (format!("{good};since=2026-01-01T00:00:00Z"), 1, "only from"),
        (format!("{good};from=2026-01-01"), 1, "UTC"),
        (
            format!("{good};from=2026-01-01T00:00:00.5Z"),
            1,
            "whole seconds",
        ),
        (format!("{good};from=1969-01-01T00:00:00Z"), 1, "UTC"),
        (
            format!("{good};until=2026-01-01T00:00:00Z;until=2027-01-01T00:00:00Z"),
            1,
            "once each",
        ),
        (
            format!("{good};from=2027-01-01T00:00:00Z;until=2026-01-01T00:00:00Z"),
            1,
            "not to be after",
        ),
    ] {
        let error = TrustedKey::parse_list(&text).unwrap_err();
        assert_eq!(error.number, number, "{text}");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}
