//! A stream verifies as it was written, and every change to it is found and placed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use audit::event::{
    EventBody, Failure, ModelAccess, ModelRef, Outcome, Prediction, ProcessStarted, ProcessStopped,
    RecordedExplanation, RecordedList, RecordedTensor, Refusal, ReleaseChange, ReleasedModel,
    Replay, Security, Unavailable,
};
use audit::{
    LeafHash, PublicKey, Receipt, Record, SignedRegistration, Stream, StreamFault, StreamId,
    StreamReport, StreamVerifier, export,
};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

const KEY_ID: &str = "registration-1";

fn registrar() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn trusted() -> Vec<(String, PublicKey)> {
    vec![(
        KEY_ID.to_owned(),
        PublicKey(registrar().verifying_key().to_bytes()),
    )]
}

fn open(id: u8) -> (Stream, SignedRegistration) {
    let (stream, registration) =
        Stream::open([id; 16], &[id; 32], "test", 1_700_000_000_000_000).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = registrar().sign(&registration).to_bytes();
    (
        stream,
        SignedRegistration {
            registration,
            key_id: KEY_ID.to_owned(),
            signature,
        },
    )
}

fn body(n: usize) -> EventBody {
    EventBody::Security(Security {
        code: "test.code".to_owned(),
        subject: format!("subject {n} \u{1F600} \"quoted\""),
        detail: "x".repeat(n % 50),
    })
}

fn written(id: u8, count: usize) -> (SignedRegistration, Vec<Record>) {
    let (mut stream, registration) = open(id);
    let records = (0..count)
        .map(|n| {
            stream
                .record(body(n), 1_700_000_000_000_000 + n as u64)
                .unwrap()
        })
        .collect();
    (registration, records)
}

fn verify(
    registration: &SignedRegistration,
    records: &[Record],
) -> Result<StreamReport, StreamFault> {
    let mut verifier = StreamVerifier::new(registration, &trusted())?;
    for record in records {
        verifier.check(record)?;
    }
    Ok(verifier.report().clone())
}

#[test]
fn a_stream_verifies_as_it_was_written() {
    let (registration, records) = written(1, 20);
    let report = verify(&registration, &records).unwrap();
    assert_eq!(report.events, 20);
    assert_eq!(report.head, records[19].receipt().leaf_hash);
    assert_eq!(report.kinds["security"], 20);
    assert_eq!(
        report.first_time.as_deref(),
        Some("2023-11-14T22:13:20.000000Z")
    );
    assert!(!report.closed);
}

#[test]
fn an_altered_event_is_found_by_its_signature() {
    let (registration, mut records) = written(1, 5);
    let text = String::from_utf8(records[2].entry.clone())
        .unwrap()
        .replace("subject 2", "subject 7");
    records[2].entry = text.into_bytes();
    assert_eq!(
        verify(&registration, &records),
        Err(StreamFault::Signature(2))
    );
}

#[test]
fn a_deleted_event_is_found_where_it_is_missing() {
    let (registration, mut records) = written(1, 5);
    records.remove(2);
    assert_eq!(
        verify(&registration, &records),
        Err(StreamFault::OutOfOrder {
            expected: 2,
            found: 3
        })
    );
}

#[test]
fn a_deleted_head_is_found() {
    let (registration, records) = written(1, 5);
    assert_eq!(
        verify(&registration, &records[1..]),
        Err(StreamFault::OutOfOrder {
            expected: 0,
            found: 1
        })
    );
}

#[test]
fn a_replayed_and_a_reordered_event_are_found() {
    let (registration, mut records) = written(1, 5);
    records.swap(1, 2);
    assert_eq!(
        verify(&registration, &records),
        Err(StreamFault::OutOfOrder {
            expected: 1,
            found: 2
        })
    );
    records.swap(1, 2);
    records.insert(3, records[2].clone());
    assert_eq!(
        verify(&registration, &records),
        Err(StreamFault::OutOfOrder {
            expected: 3,
            found: 2
        })
    );
}

#[test]
fn an_event_from_another_stream_is_found() {
    let (registration, mut records) = written(1, 5);
    let (_, other) = written(2, 5);
    records[3] = other[3].clone();
    assert!(matches!(
        verify(&registration, &records),
        Err(StreamFault::OtherStream { seq: 3, .. })
    ));
}

#[test]
fn a_second_history_under_the_same_key_is_found_by_the_chain() {
    let (registration, mut records) = written(1, 5);
    let (mut fork, _) = open(1);
    for n in 0..3 {
        fork.record(body(n + 100), 0).unwrap();
    }
    records[3] = fork.record(body(3), 0).unwrap();
    assert_eq!(verify(&registration, &records), Err(StreamFault::Chain(3)));
}

#[test]
fn nothing_follows_the_record_that_closes_a_stream() {
    let (mut stream, registration) = open(1);
    let close = EventBody::ProcessStopped(ProcessStopped {
        reason: "asked to".to_owned(),
    });
    let mut records = vec![stream.record(close, 0).unwrap()];
    assert!(verify(&registration, &records).unwrap().closed);
    records.push(stream.record(body(1), 0).unwrap());
    assert_eq!(
        verify(&registration, &records),
        Err(StreamFault::AfterClose(1))
    );
}

#[test]
fn a_stream_that_nobody_trusted_vouches_for_is_refused() {
    let (registration, _) = written(1, 1);
    let stranger = PublicKey(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
    assert_eq!(
        StreamVerifier::new(&registration, &[(KEY_ID.to_owned(), stranger)]).unwrap_err(),
        StreamFault::RegistrationSignature
    );
    assert_eq!(
        StreamVerifier::new(&registration, &[("other".to_owned(), stranger)]).unwrap_err(),
        StreamFault::UnknownRegistrationKey(KEY_ID.to_owned())
    );
}

#[test]
fn an_event_that_is_too_long_leaves_the_chain_as_it_was() {
    let (mut stream, registration) = open(1);
    let first = stream.record(body(0), 0).unwrap();
    let long = EventBody::Security(Security {
        code: "x".to_owned(),
        subject: "y".repeat(70_000),
        detail: String::new(),
    });
    assert!(stream.record(long, 0).is_err());
    let second = stream.record(body(1), 0).unwrap();
    assert_eq!(verify(&registration, &[first, second]).unwrap().events, 2);
}

#[test]
fn the_written_form_never_changes() {
    let (mut stream, registration) = open(7);
    let record = stream.record(body(3), 1_700_000_000_000_001).unwrap();
    assert_eq!(
        String::from_utf8(registration.registration.clone()).unwrap(),
        concat!(
            r#"{"format":"sealcast.stream/v1","host":"test","public_key":"ea4a6c63e29c520abef5507b132ec5f9"#,
            r#"954776aebebe7b92421eea691446d22c","stream":"07070707070707070707070707070707","#,
            r#""time":"2023-11-14T22:13:20.000000Z"}"#
        )
    );
    assert_eq!(
        String::from_utf8(record.entry.clone()).unwrap(),
        format!(
            concat!(
                r#"{{"data":{{"code":"test.code","detail":"xxx","subject":"subject 3 😀 \"quoted\""}},"#,
                r#""format":"sealcast.event/v1","kind":"security","prev":"{}","seq":0,"#,
                r#""stream":"07070707070707070707070707070707","time":"2023-11-14T22:13:20.000001Z"}}"#
            ),
            hex::encode(audit::canonical::leaf_hash(&registration.registration))
        )
    );
}

/// Any event of any kind, with numbers and text that are awkward to write.
fn any_body() -> impl Strategy<Value = EventBody> {
    let value = prop_oneof![
        any::<f64>().prop_map(audit::canonical::double),
        any::<f32>().prop_map(audit::canonical::single),
        any::<i64>().prop_map(|n| audit::canonical::integer(n.into())),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::json!({"label": "buy", "probabilities": [1e-7, 0.1, 1e21], "a": null})),
    ];
    let list = (0_usize..9, prop::collection::vec(value.clone(), 0..9))
        .prop_map(|(offset, values)| RecordedList { offset, values });
    let tensor = (
        any::<String>(),
        0_usize..9,
        prop::collection::vec(value.clone(), 0..9),
    )
        .prop_map(|(name, offset, data)| RecordedTensor {
            name,
            datatype: "FP32".to_owned(),
            shape: vec![data.len()],
            offset,
            data,
            redacted: vec!["column".to_owned()],
        });
    let failure = any::<(String, String, String)>().prop_map(|(step, code, message)| Failure {
        step,
        code,
        message,
    });
    let model = any::<(String, String)>().prop_map(|(name, algo_id)| ModelRef {
        name,
        version: "1.0.0".to_owned(),
        sha256: "00".to_owned(),
        algo_id,
    });
    let receipt = any::<([u8; 16], u32, [u8; 32])>().prop_map(|(stream, seq, hash)| Receipt {
        stream: StreamId(stream),
        seq: seq.into(),
        leaf_hash: LeafHash(hash),
    });
    let text = any::<String>();
    let unavailable =
        any::<(String, String)>().prop_map(|(code, reason)| Unavailable { code, reason });
    let explanation = (
        prop::option::of(text),
        prop::collection::vec(tensor.clone(), 0..3),
        prop::option::of(unavailable),
    )
        .prop_map(|(method, tensors, unavailable)| RecordedExplanation {
            method,
            tensors,
            unavailable,
        });
    let prediction = (
        (
            text,
            text,
            text,
            model.clone(),
            text,
            prop::option::of(model),
        ),
        (
            0_u8..4,
            prop::collection::vec(failure.clone(), 0..3),
            0_usize..99,
            any::<u32>(),
        ),
        (
            list.clone(),
            prop::collection::vec(tensor.clone(), 0..3),
            list.clone(),
        ),
        (
            prop::collection::vec(tensor, 0..3),
            list,
            prop::option::of(explanation),
        ),
    )
        .prop_map(|(a, b, c, d)| {
            EventBody::Prediction(Box::new(Prediction {
                request_id: a.0,
                principal: a.1,
                release: a.2,
                requested: a.3,
                answered_by: a.4,
                fallback_model: a.5,
                fallback_level: b.0,
                failures: b.1.clone(),
                rows: b.2,
                part: 1,
                parts: 1,
                symbols: c.0,
                inputs: c.1,
                changes: c.2,
                outputs: d.0,
                answers: d.1,
                duration_us: b.3.into(),
                explanation: d.2,
            }))
        });
    let refusal = (
        any::<[String; 5]>(),
        prop::option::of(text),
        prop::collection::vec(failure, 0..3),
    )
        .prop_map(|(words, maybe, failures)| {
            let [request_id, route, code, error, other] = words;
            EventBody::Refusal(Refusal {
                request_id,
                principal: maybe.clone(),
                route,
                status: 400,
                code,
                error,
                field: maybe,
                requested: Some(other),
                symbol: None,
                failures,
            })
        });
    let outcome = (
        any::<[String; 2]>(),
        prop::option::of(receipt.clone()),
        value,
        any::<f32>(),
    )
        .prop_map(|([request_id, principal], of_receipt, outcome, pnl)| {
            EventBody::Outcome(Outcome {
                request_id,
                principal,
                of_request: of_receipt.is_none().then(|| "id".to_owned()),
                of_receipt,
                outcome,
                pnl: Some(f64::from(pnl)).filter(|pnl| pnl.is_finite()),
                observed_at: Some("2026-01-01T00:00:00Z".to_owned()),
            })
        });
    let started = any::<[String; 2]>().prop_map(|[software, value]| {
        let settings = [("B", &value), ("A", &value)].map(|(k, v)| (k.to_owned(), v.clone()));
        EventBody::ProcessStarted(ProcessStarted {
            software,
            settings: settings.into(),
        })
    });
    let replay = (any::<[String; 2]>(), receipt).prop_map(|([request_id, principal], receipt)| {
        EventBody::Replay(Replay {
            request_id,
            principal,
            receipt,
        })
    });
    let access = any::<([String; 4], u32)>().prop_map(|([model, release, outcome, code], time)| {
        EventBody::ModelAccess(ModelAccess {
            model,
            release,
            outcome,
            sha256: None,
            code: Some(code),
            error: Some("e".to_owned()),
            duration_us: time.into(),
        })
    });
    let released = any::<([String; 5], bool, u32)>().prop_map(
        |([action, outcome, principal, model, name], whole, revision)| {
            EventBody::Release(ReleaseChange {
                action,
                code: (!whole).then(|| "c".to_owned()),
                error: (!whole).then(|| "e".to_owned()),
                models: vec![ReleasedModel {
                    digest: whole.then(|| "00".repeat(32)),
                    fallback_for: (!whole).then_some(name),
                    model,
                }],
                outcome,
                principal,
                release: whole.then(|| "r-000001".to_owned()),
                revision: whole.then_some(revision.into()),
            })
        },
    );
    let stopped = text.prop_map(|reason| EventBody::ProcessStopped(ProcessStopped { reason }));
    prop_oneof![
        prediction,
        refusal,
        outcome,
        started,
        replay,
        access,
        released,
        stopped,
        (0_usize..9).prop_map(body)
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_canonical_and_reads_back(body in any_body()) {
        let (mut stream, registration) = open(5);
        let record = stream.record(body.clone(), 7).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&record.entry).unwrap();
        prop_assert_eq!(
            String::from_utf8(audit::canonical::to_canonical_json(&value).unwrap()),
            String::from_utf8(record.entry.clone())
        );
        let event = StreamVerifier::new(&registration, &trusted()).unwrap().check(&record).unwrap();
        prop_assert_eq!(event.body.kind(), body.kind());
        prop_assert_eq!(audit::canonical::to_canonical_json_sorted(&event).unwrap(), record.entry);
    }

    #[test]
    fn an_exported_stream_reads_back_as_it_was_written(count in 0_usize..12) {
        let (registration, records) = written(3, count);
        prop_assert_eq!(
            export::parse_registration_line(&export::registration_line(&registration)).unwrap(),
            registration.clone()
        );
        let read: Vec<Record> = records
            .iter()
            .map(|record| export::parse_record_line(&export::record_line(record)).unwrap())
            .collect();
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(verify(&registration, &read).unwrap().events, count as u64);
    }

    #[test]
    fn any_flipped_bit_of_a_stream_is_found(at: prop::sample::Index, bit in 0_u8..8) {
        let (registration, records) = written(4, 4);
        let mut file = export::registration_line(&registration);
        for record in &records {
            file.extend_from_slice(&export::record_line(record));
        }
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let mut lines = file.split_inclusive(|&b| b == b'\n');
        let whole = lines
            .next()
            .and_then(|line| export::parse_registration_line(line).ok())
            .and_then(|registration| StreamVerifier::new(&registration, &trusted()).ok())
            .is_some_and(|mut verifier| {
                lines.filter(|line| !line.is_empty()).all(|line| {
                    export::parse_record_line(line).is_ok_and(|record| verifier.check(&record).is_ok())
                }) && verifier.report().events == 4
            });
        // The only bits that carry no meaning are white space after the last line's object.
        prop_assert!(!whole || file[at].is_ascii_whitespace());
    }
}
