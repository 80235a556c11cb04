//! Every write to a table while `DynamoDB` is slow, throttles, fails, breaks off, loses answers, or is gone: each has a
//! defined outcome, and nothing happens twice.

use std::sync::Arc;

use audit::seal::{LeafRange, SealedStream, Standing};
use audit::{PublicKey, StreamId};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect_tables;
use aws_tests::proxy::Fault;
use aws_tests::tables;
use domain::ports::{
    AuditAppender, AuditReader, Claim, ClaimKey, IndexPosition, LogLock, ReleaseReader,
    ReleaseWriter, RequestClaims, SealIndexReader, SealIndexWriter,
};
use domain::{PrincipalId, RequestId, Sha256Digest, StoreError};
use testkit::FixedClock;
use testkit::build::{TestStream, fresh_name, random, release};

use crate::operation::{Operation, Use};

/// An operation that writes to a table.
fn to_tables(about: &'static str) -> Operation {
    Operation {
        emulator: DynamodbLocal,
        place: |endpoints| &mut endpoints.dynamodb,
        about,
        throttled: Fault::THROTTLED_TABLE,
        writes: true,
        calls: 1,
    }
}

/// How appends of `count` records at once end.
async fn append_outcomes(about: &'static str, count: usize) {
    let table = &tables::create_audit(DynamodbLocal).await;
    to_tables(about)
        .outcomes(|connection| async move {
            let (audit, mut test) = (connection.audit(table), TestStream::fresh());
            let (stream, records) = (test.stream.id(), test.records(count));
            audit.register(&test.registration).await.unwrap();
            let (reader, sent) = (Arc::clone(&audit), records.clone());
            Use::new(async move { audit.append(sent).await }, async move {
                let stored = reader.read(stream, 0, 1000).await.unwrap();
                assert!(stored.is_empty() || stored == records, "all or none");
                stored.len() / count
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_appended_once_or_not() {
    append_outcomes("PutItem", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_appended_together_once_or_not() {
    append_outcomes("TransactWriteItems", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_registered_once_or_not() {
    let table = &tables::create_audit(DynamodbLocal).await;
    to_tables("TransactWriteItems")
        .outcomes(|connection| async move {
            let (test, writer) = (TestStream::fresh(), connection.audit(table));
            let reader = Arc::clone(&writer);
            let (stream, registration) = (test.stream.id(), test.registration);
            Use::new(
                async move { writer.register(&registration).await },
                async move {
                    let streams = reader.streams(None, 1000).await.unwrap();
                    let listed = streams.iter().filter(|s| **s == stream).count();
                    assert_eq!(reader.registration(stream).await.is_ok(), listed == 1);
                    listed
                },
            )
        })
        .await;
}

fn claim_key() -> ClaimKey {
    ClaimKey {
        principal: PrincipalId::parse("anna").unwrap(),
        request: RequestId::parse(&hex::encode(random::<8>())).unwrap(),
    }
}

const LEASE_US: u64 = 1_000_000;
const NOW_US: u64 = 1_767_225_600_000_000;

async fn claim(claims: &dyn RequestClaims, key: &ClaimKey) -> Result<Claim, StoreError> {
    let payload = Sha256Digest::of(b"payload");
    claims.claim(key, payload, NOW_US, LEASE_US).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_won_once_or_not() {
    let table = &tables::create_requests(DynamodbLocal).await;
    to_tables("PutItem")
        .outcomes(|connection| async move {
            let (key, claims) = (claim_key(), connection.claims(table));
            let (twin, again) = (Arc::clone(&claims), key.clone());
            Use::new(
                async move {
                    let won = claim(&*claims, &key).await?;
                    assert!(matches!(won, Claim::Won(_)), "{won:?}");
                    Ok(())
                },
                async move {
                    match claim(&*twin, &again).await.unwrap() {
                        Claim::InProgress => 1,
                        Claim::Won(_) => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_once_or_not() {
    let table = &tables::create_requests(DynamodbLocal).await;
    to_tables("PutItem")
        .outcomes(|connection| async move {
            let (key, claims) = (claim_key(), connection.claims(table));
            let (twin, again) = (Arc::clone(&claims), key.clone());
            let Claim::Won(token) = claim(&*claims, &key).await.unwrap() else {
                panic!("the id is fresh")
            };
            Use::new(
                async move { claims.answer(&key, token, b"answer", NOW_US * 2).await },
                async move {
                    match claim(&*twin, &again).await.unwrap() {
                        Claim::Answered(answer) if answer == b"answer" => 1,
                        Claim::InProgress => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_created_once_or_not() {
    to_tables("TransactWriteItems")
        .outcomes(|connection| async move {
            // Ids have no gaps, so every use has a table of its own.
            let writer = connection.releases(&tables::create_registry(DynamodbLocal).await);
            let (reader, next) = (Arc::clone(&writer), release(1));
            let expected = next.clone();
            Use::new(async move { writer.create(&next).await }, async move {
                match reader.get(expected.id).await {
                    Ok(stored) => {
                        assert_eq!(stored, expected);
                        assert_eq!(reader.newest().await, Ok(Some(expected.id)));
                        1
                    }
                    Err(StoreError::NotFound(_)) => 0,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_committed_once_or_not() {
    let table = &tables::create_registry(DynamodbLocal).await;
    to_tables("PutItem")
        .outcomes(|connection| async move {
            let origin = format!("log.example/{}", fresh_name("o"));
            let lock = connection.log_lock(table, &origin);
            let reader = Arc::clone(&lock);
            lock.commit(None, b"one").await.unwrap();
            Use::new(
                async move { lock.commit(Some(b"one"), b"two").await },
                async move {
                    match reader.committed().await.unwrap().as_deref() {
                        Some(b"two") => 1,
                        Some(b"one") => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

fn sealed(stream: StreamId, tree_size: u64) -> SealedStream {
    SealedStream {
        end: None,
        head: None,
        last_sealed_us: NOW_US,
        next_seq: tree_size,
        reported_through: None,
        standing: Standing::Registered {
            index: 0,
            public_key: PublicKey([7; 32]),
        },
        stream,
        tree_size,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_stream_is_sealed_is_kept_once_or_not() {
    let table = &tables::create_log(DynamodbLocal).await;
    // Where the first put is in doubt, the stream is listed and its state put again.
    let operation = Operation {
        calls: 3,
        ..to_tables("PutItem")
    };
    operation
        .outcomes(|connection| async move {
            let index = connection.seal_index(table, "log.example/a");
            let (reader, stream) = (Arc::clone(&index), StreamId(random()));
            index.put(&[sealed(stream, 10)], &[]).await.unwrap();
            Use::new(
                async move { index.put(&[sealed(stream, 20)], &[]).await },
                async move {
                    let open = reader.open_streams(None, 1000).await.unwrap();
                    let listed = open.iter().filter(|state| state.stream == stream);
                    let sizes: Vec<u64> = listed.map(|state| state.tree_size).collect();
                    match sizes[..] {
                        [10] => 0,
                        [20] => 1,
                        _ => panic!("{sizes:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_events_stand_is_kept_once_or_not() {
    let table = &tables::create_log(DynamodbLocal).await;
    to_tables("PutItem")
        .outcomes(|connection| async move {
            let index = connection.seal_index(table, "log.example/a");
            let (reader, stream) = (Arc::clone(&index), StreamId(random()));
            let range = LeafRange {
                count: 3,
                index: 70,
                seq_lo: 5,
                stream,
            };
            Use::new(async move { index.put(&[], &[range]).await }, async move {
                match reader.leaf_index(stream, 7).await.unwrap() {
                    Some(72) => 1,
                    None => 0,
                    other => panic!("{other:?}"),
                }
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_index_is_is_kept_once_or_not() {
    let table = &tables::create_log(DynamodbLocal).await;
    to_tables("PutItem")
        .outcomes(|connection| async move {
            let origin = format!("log.example/{}", fresh_name("o"));
            let index = connection.seal_index(table, &origin);
            let reader = Arc::clone(&index);
            let position = IndexPosition {
                tree_size: 9,
                listed_until_us: NOW_US,
            };
            Use::new(async move { index.advance(position).await }, async move {
                let found = reader.position().await.unwrap();
                usize::from(found == position)
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_put_among_the_listings_of_streams_hide_none() {
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    let mut streams = Vec::new();
    for first in [0x30, 0x31, 0x38, 0x40] {
        let test = TestStream::of([first; 16], "test");
        audit.register(&test.registration).await.unwrap();
        streams.push(test.stream.id());
    }
    let foreign = StreamId([0xff; 16]).to_string();
    let client = tables::client(DynamodbLocal).await;
    for (pk, sk) in [
        ("G#", "0"),
        ("G#", "20260101xx#3"),
        ("G#", "2026010100#99"),
        ("G#", "~"),
        ("G#2026010100#3", "0"),
        ("G#2026010100#3", "31no-stream"),
        ("G#2026010100#3", &foreign),
        ("G#2026010100#3", "~"),
    ] {
        let put = client.put_item().table_name(&table);
        let put = put.item("pk", AttributeValue::S(pk.to_owned()));
        let put = put.item("sk", AttributeValue::S(sk.to_owned()));
        put.send().await.unwrap();
    }
    let hour = FixedClock::default().0 / 3_600_000_000;
    assert_eq!(audit.registration_hours().await, Ok(vec![hour]));
    for limit in [1, 2, 3, 100] {
        let (mut all, mut listed) = (Vec::new(), Vec::new());
        loop {
            let page = audit.streams(all.last().copied(), limit).await.unwrap();
            all.extend(&page);
            let page_of_hour = audit.registered_in(hour, listed.last().copied(), limit);
            let page_of_hour = page_of_hour.await.unwrap();
            listed.extend(&page_of_hour);
            // Whoever lists takes a page that is not full for the last one.
            if page_of_hour.len() < limit && page.len() < limit {
                break;
            }
        }
        assert_eq!((&all, &listed), (&streams, &streams), "pages of {limit}");
    }
}
