//! Notes, keys and checkpoints.

use audit::checkpoint::{Checkpoint, OpenCheckpointError, TrustedLog};
use audit::note::{
    KeyName, MAX_NOTE_BYTES, MAX_SIGNATURES, ParseNoteError, ParseVerifierKeyError, SignatureKind,
    SignedNote, VerifierKey, VerifyNoteError, cosigned_message,
};
use ed25519_dalek::{Signer, SigningKey};
use p256::pkcs8::EncodePublicKey as _;
use proptest::prelude::*;

use crate::support::{ORIGIN, log_key, public, sign, trusted_log, verifier};

/// The key and the note of the documentation of Go's `sumdb/note`.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn ecdsa_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap()
}

fn ecdsa_verifier() -> VerifierKey {
    let spki = ecdsa_key().verifying_key().to_public_key_der().unwrap();
    VerifierKey::ecdsa_p256(name("example.com/p256"), spki.as_bytes()).unwrap()
}

fn witness(seed: u8) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let verifier = VerifierKey::cosignature(name("witness.example/w1"), &public(&key)).unwrap();
    (key, verifier)
}

fn cosign(note: &mut SignedNote, seed: u8, time_s: u64) -> Result<(), VerifyNoteError> {
    let (key, verifier) = witness(seed);
    let signature = key.sign(cosigned_message(time_s, note.text()).as_bytes());
    let signature = [time_s.to_be_bytes().as_slice(), &signature.to_bytes()].concat();
    note.add(&verifier, signature)
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 20_852_163,
        root: [0xab; 32],
    }
}

#[test]
fn the_note_of_go_s_documentation_verifies_and_is_written_back_as_it_was() {
    let key = VerifierKey::parse(NEUMANN).unwrap();
    assert_eq!(key.to_string(), NEUMANN);
    let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&key)).unwrap(), [&key]);
    assert_eq!(note.to_string(), NOTE);
    let altered = SignedNote::parse(NOTE.replace("answer", "reason").as_bytes()).unwrap();
    assert_eq!(
        altered.verify(&[key]),
        Err(VerifyNoteError::Signature(name("PeterNeumann")))
    );
}

#[test]
fn both_kinds_of_log_keys_and_a_witness_sign_one_checkpoint() {
    let mut note = sign(&checkpoint().to_string());
    let signature: p256::ecdsa::DerSignature =
        p256::ecdsa::signature::Signer::sign(&ecdsa_key(), note.text().as_bytes());
    note.add(&ecdsa_verifier(), signature.as_bytes().to_vec())
        .unwrap();
    cosign(&mut note, 11, 1_679_315_147).unwrap();
    let log = TrustedLog {
        origin: ORIGIN.to_owned(),
        keys: vec![verifier(), ecdsa_verifier()],
        witnesses: vec![witness(11).1],
        quorum: 1,
    };
    let (opened, signers) = log.open(note.to_string().as_bytes()).unwrap();
    assert_eq!(opened, checkpoint());
    assert_eq!(
        signers,
        [
            name(ORIGIN),
            name("example.com/p256"),
            name("witness.example/w1")
        ]
    );
    for key in log.keys.iter().chain(&log.witnesses) {
        assert_eq!(VerifierKey::parse(&key.to_string()).as_ref(), Ok(key));
    }
    assert_eq!(ecdsa_verifier().kind(), SignatureKind::EcdsaP256);
    let alone = TrustedLog::by_keys(ORIGIN, vec![ecdsa_verifier()]);
    assert!(alone.open(note.to_string().as_bytes()).is_ok());
}

#[test]
fn the_id_of_an_ecdsa_key_is_the_hash_of_its_spki() {
    use sha2::Digest;
    let spki = ecdsa_key().verifying_key().to_public_key_der().unwrap();
    assert_eq!(
        ecdsa_verifier().id(),
        sha2::Sha256::digest(spki.as_bytes())[..4]
    );
}

#[test]
fn a_witness_alone_does_not_make_a_checkpoint_trusted() {
    let mut note = SignedNote::new(checkpoint().to_string()).unwrap();
    cosign(&mut note, 11, 1).unwrap();
    let log = TrustedLog {
        witnesses: vec![witness(11).1],
        quorum: 1,
        ..trusted_log()
    };
    assert_eq!(
        log.open(note.to_string().as_bytes()),
        Err(OpenCheckpointError::NotByLog)
    );
    let without = sign(&checkpoint().to_string());
    let missing = OpenCheckpointError::Witnesses {
        expected: 1,
        found: 0,
    };
    assert_eq!(log.open(without.to_string().as_bytes()), Err(missing));
}

#[test]
fn a_cosignature_of_another_time_does_not_verify() {
    let mut note = sign(&checkpoint().to_string());
    let (key, verifier) = witness(11);
    let signature = key
        .sign(cosigned_message(5, note.text()).as_bytes())
        .to_bytes();
    let moved = [6_u64.to_be_bytes().as_slice(), &signature].concat();
    assert!(note.add(&verifier, moved).is_err());
    let (never, text) = (1 << 63, note.text().to_owned());
    let signature = key
        .sign(cosigned_message(never, &text).as_bytes())
        .to_bytes();
    assert!(
        note.add(
            &verifier,
            [never.to_be_bytes().as_slice(), &signature].concat()
        )
        .is_err()
    );
}

#[test]
fn unknown_signatures_are_ignored_and_doubled_ones_count_once() {
    let stranger = SigningKey::from_bytes(&[42; 32]);
    let strange = VerifierKey::ed25519(name(ORIGIN), &public(&stranger)).unwrap();
    let mut note = sign(&checkpoint().to_string());
    note.add(
        &strange,
        stranger.sign(note.text().as_bytes()).to_bytes().to_vec(),
    )
    .unwrap();
    let doubled = log_key().sign(note.text().as_bytes()).to_bytes().to_vec();
    note.add(&verifier(), doubled).unwrap();
    let read = SignedNote::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read.signatures().len(), 3);
    assert_eq!(read.verify(&[verifier()]).unwrap(), [&verifier()]);
    let other = VerifierKey::ed25519(name("other"), &public(&log_key())).unwrap();
    assert_eq!(
        read.verify(&[other]),
        Err(VerifyNoteError::NoTrustedSignature)
    );
}

#[test]
fn a_wrong_signature_of_a_known_key_refuses_the_whole_note() {
    let good = sign(&checkpoint().to_string()).to_string();
    let other = sign(
        &Checkpoint {
            size: 1,
            ..checkpoint()
        }
        .to_string(),
    )
    .to_string();
    let foreign_line = other.rsplit_once("\n\n").unwrap().1;
    let mixed = format!("{}\n\n{foreign_line}", good.rsplit_once("\n\n").unwrap().0);
    assert_eq!(
        trusted_log().open(mixed.as_bytes()),
        Err(OpenCheckpointError::Verify(VerifyNoteError::Signature(
            name(ORIGIN)
        )))
    );
    let mut note = SignedNote::new("text\n".to_owned()).unwrap();
    assert!(note.add(&verifier(), vec![0; 64]).is_err());
    assert!(note.signatures().is_empty());
}

#[test]
fn notes_of_another_form_are_refused_with_the_reason() {
    let line = "\u{2014} a AAAAAAA=\n";
    let parse = |text: &str| SignedNote::parse(text.as_bytes()).map(|_| ());
    assert_eq!(parse(&format!("text\n\n{line}")), Ok(()));
    assert_eq!(
        parse(&format!("text\n{line}")),
        Err(ParseNoteError::NoSignatures)
    );
    assert_eq!(parse("text\n\n"), Err(ParseNoteError::NoSignatures));
    assert_eq!(
        parse(&format!("te\txt\n\n{line}")),
        Err(ParseNoteError::Control(2))
    );
    assert_eq!(
        parse(&format!("text\n\n{}", line.trim_end())),
        Err(ParseNoteError::NoSignatures)
    );
    for wrong in [
        "- a AAAAAAA=",
        "\u{2014} a+b AAAAAAA=",
        "\u{2014}  AAAAAAA=",
        "\u{2014} a AAAAAA==",
        "\u{2014} a AAAAAAA",
        "\u{2014} a\u{a0}b AAAAAAA=",
    ] {
        assert_eq!(
            parse(&format!("text\n\n{line}{wrong}\n")),
            Err(ParseNoteError::Signature(2)),
            "{wrong}"
        );
    }
    let many = format!("text\n\n{}", line.repeat(101));
    assert_eq!(parse(&many), Err(ParseNoteError::TooManySignatures));
    assert_eq!(SignedNote::parse(&[0xff; 10]), Err(ParseNoteError::NotUtf8));
    assert_eq!(
        SignedNote::parse(&vec![b'a'; 1_000_001]),
        Err(ParseNoteError::TooLong(1_000_001))
    );
    let empty_lines = format!("a\n\nb\n\n{line}");
    assert_eq!(
        SignedNote::parse(empty_lines.as_bytes()).unwrap().text(),
        "a\n\nb\n"
    );
}

#[test]
fn keys_of_another_form_are_refused_with_the_reason() {
    let wrong_id = NEUMANN.replace("c74f20a3", "c74f20a4");
    assert!(
        matches!(VerifierKey::parse(&wrong_id), Err(ParseVerifierKeyError::Id { expected, .. }) if expected == "c74f20a3")
    );
    assert_eq!(VerifierKey::parse("a+b"), Err(ParseVerifierKeyError::Form));
    assert_eq!(
        VerifierKey::parse(&NEUMANN.replace("Peter", "Peter ")),
        Err(ParseVerifierKeyError::Form)
    );
    assert_eq!(
        VerifierKey::parse("a+00000000+BQ=="),
        Err(ParseVerifierKeyError::Kind(5))
    );
    assert_eq!(
        VerifierKey::parse("a+00000000+AQ=="),
        Err(ParseVerifierKeyError::Key(1))
    );
    // The neutral element: a key under which one signature fits any text.
    let weak = audit::PublicKey({
        let mut key = [0; 32];
        key[0] = 1;
        key
    });
    assert_eq!(
        VerifierKey::ed25519(name("a"), &weak),
        Err(ParseVerifierKeyError::Key(1))
    );
}

#[test]
fn checkpoints_of_another_form_are_refused_by_their_line() {
    let text = checkpoint().to_string();
    assert_eq!(Checkpoint::parse(&text).unwrap(), checkpoint());
    assert!(Checkpoint::parse(&format!("{text}extension\n")).is_ok());
    let line = |text: &str| match Checkpoint::parse(text) {
        Err(OpenCheckpointError::Text { line, .. }) => line,
        other => panic!("{text:?} gave {other:?}"),
    };
    assert_eq!(line(""), 1);
    assert_eq!(line("\n5\n"), 1);
    assert_eq!(line(&text.replace("20852163", "020852163")), 2);
    assert_eq!(line(&text.replace("20852163", "-1")), 2);
    assert_eq!(line(&text.replace("20852163", "18446744073709551616")), 2);
    assert_eq!(line("origin\n5\n"), 3);
    assert_eq!(line("origin\n5\nAAAA\n"), 3);
    assert_eq!(line(&format!("{text}\nmore\n")), 4);
    let note = sign(
        &Checkpoint {
            origin: "example.com/other".to_owned(),
            ..checkpoint()
        }
        .to_string(),
    );
    assert!(matches!(
        trusted_log().open(note.to_string().as_bytes()),
        Err(OpenCheckpointError::OtherOrigin { .. })
    ));
}

#[test]
fn no_note_is_written_that_would_not_be_read() {
    let long = "x".repeat(MAX_NOTE_BYTES) + "\n";
    assert_eq!(
        SignedNote::new(long),
        Err(ParseNoteError::TooLong(MAX_NOTE_BYTES + 1))
    );
    let mut full = SignedNote::new("x".repeat(MAX_NOTE_BYTES - 50) + "\n").unwrap();
    let signature = crate::support::log_key().sign(full.text().as_bytes());
    let before = full.clone();
    assert!(matches!(
        full.add(&verifier(), signature.to_bytes().to_vec()),
        Err(VerifyNoteError::NoRoom(ParseNoteError::TooLong(_)))
    ));
    assert_eq!(full, before);
    let mut many = crate::support::sign(&checkpoint().to_string());
    let signature = many.signatures()[0].signature.clone();
    for _ in 1..MAX_SIGNATURES {
        many.add(&verifier(), signature.clone()).unwrap();
    }
    assert_eq!(
        many.add(&verifier(), signature),
        Err(VerifyNoteError::NoRoom(ParseNoteError::TooManySignatures))
    );
    assert_eq!(SignedNote::parse(many.to_string().as_bytes()), Ok(many));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>, text in "[a-z+\u{2014} \n]{0,80}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(note) = SignedNote::parse(input) {
                prop_assert_eq!(SignedNote::parse(note.to_string().as_bytes()), Ok(note));
            }
        }
        let _ = Checkpoint::parse(&text);
        let _ = VerifierKey::parse(&text);
        prop_assert!(trusted_log().open(&bytes).is_err());
    }

    #[test]
    fn no_flipped_bit_of_a_checkpoint_stays_trusted(bit: prop::sample::Index) {
        let good = sign(&checkpoint().to_string()).to_string().into_bytes();
        let mut flipped = good.clone();
        let place = bit.index(good.len() * 8);
        flipped[place / 8] ^= 1 << (place % 8);
        prop_assert!(trusted_log().open(&flipped).is_err());
    }
}

#[test]
fn a_key_is_read_from_its_pem_whichever_of_the_two_kinds_it_is() {
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    use p256::pkcs8::LineEnding;
    let ed25519 = log_key().verifying_key();
    let pem = ed25519.to_public_key_pem(LineEnding::LF).unwrap();
    let read = VerifierKey::from_pem(name(ORIGIN), &pem).unwrap();
    assert_eq!(read, verifier());
    let pem = ecdsa_key()
        .verifying_key()
        .to_public_key_pem(LineEnding::LF);
    let read = VerifierKey::from_pem(name("example.com/p256"), &pem.unwrap()).unwrap();
    assert_eq!(read, ecdsa_verifier());
    for none in ["", "MCowBQYDK2VwAyEA", NEUMANN] {
        let refused = VerifierKey::from_pem(name(ORIGIN), none);
        assert_eq!(refused, Err(ParseVerifierKeyError::Pem));
    }
}
