//! The sealer over the AWS stores: streams and index in `DynamoDB` Local, the log in S3, its key in KMS.

use std::collections::HashMap;
use std::sync::Arc;

use audit::checkpoint::{Checkpoint, TrustedLog};
use audit::event::ProcessStopped;
use audit::tiles::TileId;
use audit::whole_log::{LogReport, verify_log};
use audit::{EventBody, PublicKey, StreamId};
use audit_seal::{Outcome, Ports, Rules, Sealer, StreamKeys, log_key};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack};
use aws_tests::emulators::{connect, connect_keys, connect_tables};
use aws_tests::{fixtures, tables};
use domain::LogPath;
use domain::ports::{AuditAppender, Clock, LogReader, SealIndexReader, Signer};
use domain::system::SystemClock;
use store_aws::{Connection, DynamoAudit, DynamoSealIndex, KmsSigner, S3Log, SigningAlgorithm};
use testkit::TestSigner;
use testkit::build::{TestStream, random};

const ORIGIN: &str = "sealcast.test.eu-west-1";

/// The key of the row that lists a stream as open.
fn listing(stream: StreamId) -> HashMap<String, AttributeValue> {
    let partition = format!("O#{}", stream.0[0] >> 4);
    let (pk, sk) = (partition, stream.to_string());
    [("pk", pk), ("sk", sk)]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .into()
}

/// A stack's part that seals.
struct Stack {
    tables: Connection,
    audit: Arc<DynamoAudit>,
    log_table: String,
    log: Arc<S3Log>,
    index: Arc<DynamoSealIndex>,
    signer: Arc<KmsSigner>,
}

impl Stack {
    async fn new() -> Self {
        let bucket = fixtures::create_locking_bucket(365).await;
        let (services, tables) = (connect().await, connect_tables(DynamodbLocal).await);
        let log_table = tables::create_log(DynamodbLocal).await;
        let audit_table = tables::create_audit(DynamodbLocal).await;
        let key = fixtures::create_stream_key().await;
        let keys = connect_keys(Ministack).await;
        Self {
            audit: tables.audit(&audit_table),
            index: tables.seal_index(&log_table, ORIGIN),
            log: services.locked_log_objects(&bucket),
            signer: keys.signer(&key, SigningAlgorithm::Ed25519),
            log_table,
            tables,
        }
    }

    fn sealer(&self, max_leaves: usize) -> Sealer {
        let ports = Ports {
            audit: self.audit.clone(),
            log: self.log.clone(),
            writer: self.log.clone(),
            publisher: self.log.clone(),
            lock: self.tables.log_lock(&self.log_table, ORIGIN),
            stage: self.log.clone(),
            index: self.index.clone(),
            index_writer: self.index.clone(),
            signer: self.signer.clone(),
            clock: Arc::new(SystemClock),
        };
        let keys = StreamKeys::Given(vec![TestSigner::new(1).trusted()]);
        let rules = Rules {
            max_leaves,
            ..Rules::of(ORIGIN.to_owned(), keys)
        };
        Sealer::new(ports, rules)
    }

    /// A new stream with this many events.
    async fn write(&self, events: usize) -> StreamId {
        let mut test = TestStream::opened_at(random(), "test", SystemClock.now_us());
        self.audit.register(&test.registration).await.unwrap();
        self.audit.append(test.records(events)).await.unwrap();
        test.stream.id()
    }

    /// Deletes what lists the stream as open; false where nothing does.
    async fn unlist(&self, stream: StreamId) -> bool {
        let delete = tables::client(DynamodbLocal).await.delete_item();
        let delete = delete.table_name(&self.log_table);
        let delete = delete.set_key(Some(listing(stream)));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await;
        deleted.unwrap().attributes.is_some()
    }

    async fn verify(&self) -> (Checkpoint, LogReport) {
        let pem = self.signer.public_key_pem().await.unwrap();
        let key = log_key(ORIGIN, &pem).unwrap();
        let note = self.log.checkpoint().await.unwrap().unwrap();
        let trusted = TrustedLog::by_keys(ORIGIN, vec![key]);
        let head = trusted.open(&note).unwrap().0;
        let mut tiles = std::collections::BTreeMap::new();
        for tile in audit::tiles::tiles_added(0, head.size) {
            let path = LogPath::parse(&tile.to_string()).unwrap();
            tiles.insert(tile, self.log.read(&path, 1 << 25).await.unwrap());
        }
        let mut reader = |tile: TileId| tiles.get(&tile).cloned().ok_or("it was not read");
        let keys: [(String, PublicKey); 1] = [TestSigner::new(1).trusted()];
        let report = verify_log(&head, &keys, &mut reader, &mut |_| {});
        (head, report)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_in_dynamodb_are_sealed_in_s3_under_a_key_of_kms() {
    let stack = Stack::new().await;
    let first = stack.write(300).await;
    let report = stack.sealer(200).run(None).await.unwrap();
    assert_eq!((report.outcome, report.events), (Outcome::Done, 300));
    let second = stack.write(20).await;
    let report = stack.sealer(200).run(None).await.unwrap();
    assert_eq!((report.events, report.checkpoints), (20, 1));
    let (head, verified) = stack.verify().await;
    assert!(verified.is_complete(), "{verified:?}");
    assert_eq!(head.size, report.size);
    for (stream, events) in [(first, 300), (second, 20)] {
        assert_eq!(verified.streams[&stream].events, events);
        let last = stack.index.leaf_index(stream, events - 1).await.unwrap();
        assert!(last.is_some_and(|at| at < head.size));
        assert_eq!(stack.index.leaf_index(stream, events).await, Ok(None));
    }
    let open = stack.index.open_streams(None, 10).await.unwrap();
    assert_eq!(open.len(), 2, "their next events are expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_sealers_at_once_over_aws_stores_seal_every_event_once() {
    let stack = Arc::new(Stack::new().await);
    let sealing: Vec<_> = (0..4)
        .map(|_| {
            let sealer = stack.sealer(100);
            tokio::spawn(async move {
                let mut overtaken = 0;
                for _ in 0..6 {
                    let report = sealer.run(None).await.unwrap();
                    overtaken += u32::from(report.outcome == Outcome::Overtaken);
                }
                overtaken
            })
        })
        .collect();
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(stack.write(25).await);
    }
    let mut overtaken = 0;
    for sealing in sealing {
        overtaken += sealing.await.unwrap();
    }
    assert!(overtaken > 0, "they stood in each other's way");
    let last = stack.sealer(100).run(None).await.unwrap();
    assert_eq!(last.outcome, Outcome::Done);
    let (_, verified) = stack.verify().await;
    assert!(verified.is_complete(), "{verified:?}");
    assert!(verified.reported.is_empty(), "{:?}", verified.reported);
    for stream in streams {
        assert_eq!(verified.streams[&stream].events, 25);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_row_in_the_list_of_open_ones_was_deleted_is_listed_again() {
    let stack = Stack::new().await;
    let mut test = TestStream::opened_at(random(), "test", SystemClock.now_us());
    let stream = test.stream.id();
    stack.audit.register(&test.registration).await.unwrap();
    stack.audit.append(test.records(3)).await.unwrap();
    stack.sealer(100).run(None).await.unwrap();
    let listed = async || stack.index.open_streams(None, 10).await.unwrap();
    assert_eq!(listed().await.len(), 1);
    assert!(stack.unlist(stream).await, "it was there");
    assert_eq!(listed().await, []);
    // The sealer finds it, and puts its state as it is.
    stack.audit.append(test.records(2)).await.unwrap();
    let report = stack.sealer(100).run(None).await.unwrap();
    assert_eq!(report.events, 2, "in the run that finds it");
    assert_eq!(listed().await.len(), 1);
    let (_, verified) = stack.verify().await;
    assert!(verified.is_complete(), "{verified:?}");
    assert_eq!(verified.streams[&stream].events, 5);
    // Where it ends, the row goes, and one that somebody puts there lists nothing.
    let stopped = EventBody::ProcessStopped(ProcessStopped {
        reason: "asked to stop".to_owned(),
    });
    let end = test.stream.record(stopped, SystemClock.now_us()).unwrap();
    stack.audit.append(vec![end]).await.unwrap();
    stack.sealer(100).run(None).await.unwrap();
    assert!(!stack.unlist(stream).await, "it is gone");
    let put = tables::client(DynamodbLocal).await.put_item();
    let put = put.table_name(&stack.log_table);
    let put = put
        .set_item(Some(listing(stream)))
        .item("tree_size", AttributeValue::N("1".to_owned()));
    put.send().await.unwrap();
    assert_eq!(listed().await, []);
}
