//! Questions to a log that is recorded in `DynamoDB`, signed in KMS and sealed into S3.

use std::sync::Arc;

use audit::Record;
use audit::checkpoint::TrustedLog;
use audit::note::VerifierKey;
use audit::proof_file::ProofFile;
use audit_query::{AuditQuery, Limits, Ports};
use audit_seal::{Rules, Sealer, StreamKeys};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack};
use aws_tests::emulators::{Emulator, connect, connect_keys, connect_tables};
use aws_tests::{fixtures, tables};
use axum::Router;
use axum::body::Body;
use domain::ports::{AuditAppender, Clock};
use domain::system::SystemEntropy;
use domain::{Principal, PrincipalId, Recorder, Role};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use store_aws::SigningAlgorithm;
use testkit::build::{TestStream, event, prediction, random};
use testkit::{FixedClock, ManualClock, TestSigner};
use tower::ServiceExt;
use web::Edge;

const ORIGIN: &str = "sealcast.test/aws";
const SECOND: u64 = 1_000_000;

struct Site {
    emulator: Emulator,
    audit_table: String,
    sealer: Sealer,
    appender: Arc<dyn AuditAppender>,
    router: Router,
}

async fn site(emulator: Emulator) -> Site {
    let (audit_table, log_table) = (
        tables::create_audit(emulator).await,
        tables::create_log(emulator).await,
    );
    let bucket = fixtures::create_log_bucket().await;
    let (stream_key, log_key) = (
        fixtures::create_stream_key().await,
        fixtures::create_stream_key().await,
    );
    let (aws, keys) = (connect().await, connect_keys(Ministack).await);
    let tables = connect_tables(emulator).await;
    let clock = Arc::new(ManualClock::default());
    clock.advance(3600 * SECOND);
    let audit = tables.audit(&audit_table);
    let index = tables.seal_index(&log_table, ORIGIN);
    let log = aws.log_objects(&bucket, None);
    let log_key = keys.signer(&log_key, SigningAlgorithm::Ed25519);
    let recorder = Arc::new(Recorder::new(
        "test".to_owned(),
        audit.clone(),
        keys.signer(&stream_key, SigningAlgorithm::Ed25519),
        clock.clone(),
        Arc::new(SystemEntropy),
    ));
    let trusted = StreamKeys::Given(vec![TestSigner::new(1).trusted()]);
    let sealer = Sealer::new(
        audit_seal::Ports {
            audit: audit.clone(),
            log: log.clone(),
            writer: log.clone(),
            publisher: log.clone(),
            lock: tables.log_lock(&log_table, ORIGIN),
            stage: log.clone(),
            index: index.clone(),
            index_writer: index.clone(),
            signer: log_key.clone(),
            clock: clock.clone(),
        },
        Rules::of(ORIGIN.to_owned(), trusted),
    );
    let ports = Ports {
        search: audit.clone(),
        streams: audit.clone(),
        index,
        log,
        log_key,
    };
    let origin = ORIGIN.to_owned();
    let query = AuditQuery::new(ports, Limits::WHOLE, origin, recorder.clone(), clock);
    Site {
        emulator,
        audit_table,
        sealer,
        appender: audit,
        router: Edge::new(recorder).surround(audit_query::router(Arc::new(query))),
    }
}

impl Site {
    async fn get(&self, path: &str) -> (u16, String) {
        let auditor = Principal {
            id: PrincipalId::parse("anna").unwrap(),
            roles: [Role::Auditor].into(),
        };
        let request = Request::get(path).extension(auditor).body(Body::empty());
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn ask(&self, query: &str) -> Value {
        let range = "from=2026-01-01T00:00:00Z&until=2026-01-01T00:30:00Z";
        let (status, body) = self.get(&format!("/v1/audit/events?{range}{query}")).await;
        assert_eq!(status, 200, "{query}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Two events a stream: of one symbol at an even place, of two at an odd one.
    async fn fill(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let start = FixedClock::default().now_us();
        for stream in 0_u64..3 {
            let mut test = TestStream::of(random(), "test");
            self.appender.register(&test.registration).await.unwrap();
            for number in 0_u64..10 {
                let symbols: &[&str] = if number % 2 == 0 {
                    &["SPX"]
                } else {
                    &["SPX", "NDX"]
                };
                let body = match number {
                    9 => event("other"),
                    _ => prediction(&format!("{stream}-{number}"), symbols),
                };
                let at = start + (number * 70 + stream) * SECOND;
                records.push(test.stream.record(body, at).unwrap());
            }
            let appended = records[records.len() - 10..].to_vec();
            self.appender.append(appended).await.unwrap();
        }
        records
    }

    /// Puts other bytes in the place of an entry, as somebody would who may write rows.
    async fn alter(&self, record: &Record, entry: Vec<u8>) {
        let client = tables::client(self.emulator).await;
        let text = |text: String| AttributeValue::S(text);
        client
            .update_item()
            .table_name(&self.audit_table)
            .key("pk", text(format!("S#{}", record.stream)))
            .key("sk", text(format!("{:020}", record.seq)))
            .update_expression("SET entry = :entry")
            .expression_attribute_values(":entry", AttributeValue::B(entry.into()))
            .send()
            .await
            .unwrap();
    }
}

fn events(answer: &Value) -> &Vec<Value> {
    answer["events"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_found_by_every_filter_page_by_page_and_proven() {
    for emulator in [DynamodbLocal, Ministack] {
        let site = site(emulator).await;
        let records = site.fill().await;
        assert_eq!(site.ask("&limit=1").await["as_of"]["size"], 0);
        site.sealer.run(None).await.unwrap();
        for (query, count) in [
            ("", 30),
            ("&symbol=SPX", 27),
            ("&symbol=NDX", 12),
            ("&symbol=DAX", 0),
            ("&model=spx-direction@1.0.0", 27),
            ("&request_id=1-3", 1),
            ("&kind=security", 3),
            ("&symbol=NDX&model=spx-direction@1.0.0&request_id=2-5", 1),
            ("&symbol=NDX&request_id=2-4", 0),
        ] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let answer = site.ask(&format!("{query}&limit=7{cursor}")).await;
                found.extend(events(&answer).clone());
                let Some(next) = answer["next"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(found.len(), count, "{query}");
            let order: Vec<_> = found
                .iter()
                .map(|it| it["entry"]["time"].to_string())
                .collect();
            assert!(order.is_sorted(), "{query}");
            assert!(
                found.iter().all(|event| event["sealed"] == true),
                "{query}: {found:?}"
            );
        }
        let (_, vkey) = site.get("/v1/audit/log.vkey").await;
        let key = VerifierKey::parse(vkey.trim_end()).unwrap();
        let log = TrustedLog::by_keys(ORIGIN, vec![key]);
        for record in records.iter().step_by(7) {
            let path = format!("/v1/audit/events/{}/{}/proof", record.stream, record.seq);
            let (status, proof) = site.get(&path).await;
            assert_eq!(status, 200, "{proof}");
            let proof = ProofFile::parse(proof.as_bytes()).unwrap();
            proof.verify(&record.entry, &log).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_wrote_over_hide_nothing() {
    let site = site(DynamodbLocal).await;
    let records = site.fill().await;
    site.sealer.run(None).await.unwrap();
    let altered = String::from_utf8(records[1].entry.clone()).unwrap();
    let altered = altered.replace("\"rows\":1", "\"rows\":2").into_bytes();
    site.alter(&records[1], altered).await;
    site.alter(&records[3], b"no event".to_vec()).await;
    for query in ["", "&symbol=NDX", "&symbol=SPX"] {
        let answer = site.ask(query).await;
        let faults: Vec<(&str, &str)> = events(&answer)
            .iter()
            .filter_map(|event| {
                let code = event["fault"]["code"].as_str()?;
                Some((event["entry"]["data"]["request_id"].as_str()?, code))
            })
            .collect();
        let found = [
            ("0-1", "audit.event_altered"),
            ("0-3", "audit.event_unreadable"),
        ];
        assert_eq!(faults, found, "{query}");
    }
    assert_eq!(events(&site.ask("&symbol=NDX").await).len(), 12);
}
