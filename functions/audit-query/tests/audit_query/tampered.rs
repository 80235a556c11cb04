use audit::Record;
use domain::StoreError;
use serde_json::Value;
use testkit::Fault;
use testkit::build::{TestStream, event, prediction};

use crate::support::{Change, SECOND, Site, site};

/// Ten events, the first eight of them sealed.
async fn tampered() -> (Site, Vec<Record>) {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let mut records = Vec::new();
    for number in 0..10 {
        if number == 8 {
            site.seal().await;
        }
        let body = prediction(&format!("r-{number}"), &["SPX"]);
        records.push(site.append(&mut test, body, number).await);
    }
    // An index over all of them, before anybody changes one.
    site.ok("/v1/audit/events?symbol=SPX").await;
    (site, records)
}

async fn listed(site: &Site) -> Vec<Value> {
    let json = site.ok("/v1/audit/events?symbol=SPX").await.json();
    json["events"].as_array().unwrap().clone()
}

fn fault(event: &Value) -> &str {
    event["fault"]["code"].as_str().unwrap_or("")
}

fn faults(events: &[Value]) -> Vec<(u64, &str)> {
    let places = events
        .iter()
        .map(|event| (event["seq"].as_u64().unwrap(), fault(event)));
    places.filter(|(_, fault)| !fault.is_empty()).collect()
}

fn altered(record: &Record) -> Vec<u8> {
    let text = String::from_utf8(record.entry.clone()).unwrap();
    let altered = text.replace("\"rows\":1", "\"rows\":2");
    assert_ne!(altered, text);
    altered.into_bytes()
}

#[tokio::test]
async fn an_altered_row_of_a_sealed_event_is_found_and_what_was_sealed_is_given() {
    let (site, records) = tampered().await;
    site.change(&records[3], Change::Entry(altered(&records[3])));
    let events = listed(&site).await;
    assert_eq!(events.len(), 10);
    assert_eq!(faults(&events), [(3, "audit.event_altered")]);
    assert_eq!(events[3]["sealed"], true);
    assert_eq!(events[3]["entry"]["data"]["rows"], 1);
    assert_eq!(
        events[3]["leaf_hash"],
        records[3].receipt().leaf_hash.to_string()
    );
    let detail = events[3]["fault"]["detail"].as_str().unwrap();
    assert!(detail.contains("this is what was sealed"), "{detail}");
    let place = format!("{}:3", records[3].stream);
    assert_eq!(
        site.security().await,
        [("audit.event_altered".to_owned(), place)]
    );

    let path = format!("/v1/audit/events/{}/3", records[3].stream);
    let one = site.ok(&path).await.json();
    assert_eq!(
        (fault(&one), &one["entry"]["data"]["rows"]),
        ("audit.event_altered", &Value::from(1))
    );
    assert!(one["proof"].is_string());
    listed(&site).await;
    assert_eq!(
        site.security().await.len(),
        1,
        "the same finding is recorded once"
    );
}

#[tokio::test]
async fn an_altered_row_that_is_not_sealed_yet_is_given_as_it_is_with_the_mark_that_it_is_not_signed()
 {
    let (site, records) = tampered().await;
    site.change(&records[8], Change::Entry(altered(&records[8])));
    site.change(&records[9], Change::Signature([7; 64]));
    let events = listed(&site).await;
    let code = "audit.event_signature_invalid";
    assert_eq!(faults(&events), [(8, code), (9, code)]);
    assert_eq!(events[8]["sealed"], false);
    assert_eq!(events[8]["entry"]["data"]["rows"], 2);
    assert_ne!(
        events[8]["leaf_hash"],
        records[8].receipt().leaf_hash.to_string()
    );
    assert_eq!(events[9]["entry"]["data"]["rows"], 1);
    let places = [8, 9].map(|seq| (code.to_owned(), format!("{}:{seq}", records[8].stream)));
    assert_eq!(site.security().await, places);
}

#[tokio::test]
async fn a_row_of_a_sealed_event_with_another_signature_is_found_and_the_sealed_one_is_given() {
    let (site, records) = tampered().await;
    site.change(&records[3], Change::Signature(records[4].signature));
    let events = listed(&site).await;
    assert_eq!(faults(&events), [(3, "audit.event_altered")]);
    let sig = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        records[3].signature,
    );
    assert_eq!(events[3]["sig"], sig);
    assert_eq!(events[3]["sealed"], true);
}

#[tokio::test]
async fn an_index_that_says_that_an_event_stands_elsewhere_does_not_make_its_row_a_forgery() {
    use domain::ports::SealIndexWriter;
    let (site, records) = tampered().await;
    let elsewhere = audit::seal::LeafRange {
        stream: records[4].stream,
        seq_lo: 4,
        index: 0,
        count: 1,
    };
    site.store
        .seal_index()
        .put(&[], &[elsewhere])
        .await
        .unwrap();
    let events = listed(&site).await;
    assert_eq!(faults(&events)[0], (4, "audit.log_corrupt"));
    assert_eq!(events[4]["sealed"], false);
    assert_eq!(events[4]["entry"]["data"]["request_id"], "r-4");
    let detail = events[4]["fault"]["detail"].as_str().unwrap();
    assert!(detail.contains("leaf 0, which is another"), "{detail}");
}

#[tokio::test]
async fn a_sealed_entry_that_is_not_its_leaf_is_not_given() {
    let (site, records) = tampered().await;
    let checkpoint = site.ok("/v1/audit/checkpoint").await;
    let path = format!(
        "tile/entries/000.p/{}",
        checkpoint.header("sealcast-tree-size")
    );
    let bundle = site.ok(&format!("/v1/audit/{path}")).await.bytes;
    let (rows, others) = (b"\"rows\":1", b"\"rows\":2");
    let mut altered = bundle.clone();
    for at in 0..altered.len() - rows.len() {
        if altered[at..].starts_with(rows) {
            altered[at..at + rows.len()].copy_from_slice(others);
        }
    }
    assert_ne!(altered, bundle);
    site.change_object(&path, Some(&altered));
    site.change(&records[3], Change::Gone);
    let events = listed(&site).await;
    assert_eq!(faults(&events), [(3, "audit.log_corrupt")]);
    assert!(events[3].get("entry").is_none());
}

#[tokio::test]
async fn an_event_that_is_found_by_what_it_is_not_about_is_marked() {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let record = site.append(&mut test, prediction("a", &["SPX"]), 0).await;
    site.append(&mut test, prediction("b", &["SPX"]), 1).await;
    let paths = ["symbol=SPX", "kind=prediction"].map(|asked| format!("/v1/audit/events?{asked}"));
    // An index over both, before anybody changes one.
    site.ok(&paths[0]).await;
    let entry = String::from_utf8(record.entry.clone()).unwrap();
    let other = entry.replace("SPX", "NDX");
    let later = entry.replace("00:00:00.000000Z", "00:00:07.000000Z");
    for (path, changed) in paths.iter().zip([other, later]) {
        site.change(&record, Change::Entry(changed.into_bytes()));
        let json = site.ok(path).await.json();
        let events = json["events"].as_array().unwrap();
        assert_eq!(faults(events), [(0, "audit.event_misplaced")], "{path}");
        assert!(events[0]["entry"].is_object());
    }
}

#[tokio::test]
async fn a_sealed_event_whose_row_is_gone_is_held_against_every_filter() {
    let (site, records) = tampered().await;
    site.change(&records[2], Change::Gone);
    site.change(&records[3], Change::Gone);
    let path = "/v1/audit/events?model=spx-direction@1.0.0&symbol=";
    for (symbol, count) in [("SPX", 10), ("NDX", 0)] {
        let places = site.ok(&format!("{path}{symbol}")).await.places();
        assert_eq!(places.len(), count, "{symbol}");
    }
}

#[tokio::test]
async fn a_row_that_is_gone_is_given_from_the_log_and_missed_where_it_was_not_sealed() {
    let (site, records) = tampered().await;
    site.change(&records[2], Change::Gone);
    site.change(&records[9], Change::Gone);
    let events = listed(&site).await;
    assert_eq!(events.len(), 10);
    assert_eq!(faults(&events), [(9, "audit.event_missing")]);
    assert_eq!(events[2]["entry"]["data"]["request_id"], "r-2");
    assert!(events[9].get("entry").is_none());
    let place = format!("{}:9", records[9].stream);
    assert_eq!(
        site.security().await,
        [("audit.event_missing".to_owned(), place)]
    );
    let one = site
        .ok(&format!("/v1/audit/events/{}/2", records[2].stream))
        .await
        .json();
    assert_eq!(
        (&one["sealed"], one["proof"].is_string()),
        (&Value::from(true), true)
    );
    let gone = site
        .get(&format!("/v1/audit/events/{}/9", records[9].stream))
        .await;
    assert_eq!(gone.error(), (404, "audit.event_unknown".to_owned()));
}

#[tokio::test]
async fn one_row_that_cannot_be_read_hides_no_other() {
    for (unsealed, sealed) in [
        (Change::Corrupt, Change::Corrupt),
        (Change::Entry(b"{".to_vec()), Change::Entry(vec![0xff; 9])),
        (
            Change::Entry(b"{}".to_vec()),
            Change::Entry(b"\"x\"".to_vec()),
        ),
    ] {
        let (site, records) = tampered().await;
        site.change(&records[8], unsealed);
        site.change(&records[4], sealed);
        let events = listed(&site).await;
        let code = "audit.event_unreadable";
        assert_eq!(faults(&events), [(4, code), (8, code)]);
        assert_eq!(events.len(), 10);
        assert_eq!(
            events[4]["entry"]["data"]["request_id"], "r-4",
            "from the log"
        );
        assert!(events[8].get("entry").is_none());
        assert_eq!(site.security().await.len(), 2);
        let path = format!("/v1/audit/events/{}/8", records[8].stream);
        let one = site.ok(&path).await.json();
        assert_eq!(fault(&one), code);
        let proof = site.get(&format!("{path}/proof")).await;
        assert_eq!(proof.error(), (409, code.to_owned()));
        let csv = site.ok("/v1/audit/events?symbol=SPX&format=csv").await;
        let rows: Vec<_> = csv::Reader::from_reader(&*csv.bytes)
            .into_records()
            .map(Result::unwrap)
            .collect();
        assert_eq!((rows.len(), &rows[8][12], &rows[8][13]), (10, code, ""));
    }
}

#[tokio::test]
async fn a_row_that_holds_another_streams_event_is_none() {
    let (site, records) = tampered().await;
    let other = TestStream::of([9; 16], "test")
        .stream
        .record(event("x"), 0)
        .unwrap();
    site.change(&records[8], Change::Entry(other.entry));
    site.change(&records[9], Change::Entry(records[0].entry.clone()));
    let code = "audit.event_unreadable";
    assert_eq!(faults(&listed(&site).await), [(8, code), (9, code)]);
}

#[tokio::test]
async fn a_damaged_tile_marks_the_events_that_it_holds_and_gives_no_proof() {
    for bytes in [None, Some(&[0_u8; 31][..])] {
        let (site, records) = tampered().await;
        let leaves = site
            .ok("/v1/audit/checkpoint")
            .await
            .header("sealcast-tree-size")
            .to_owned();
        site.change_object(&format!("tile/0/000.p/{leaves}"), bytes);
        let events = listed(&site).await;
        let marked = faults(&events);
        assert_eq!(marked.len(), 8, "{marked:?}");
        assert!(
            marked
                .iter()
                .all(|(seq, code)| *seq < 8 && *code == "audit.log_corrupt")
        );
        assert!(events.iter().all(|event| event["sealed"] == false));
        let proof = format!("/v1/audit/events/{}/3/proof", records[3].stream);
        assert_eq!(
            site.get(&proof).await.error(),
            (409, "audit.log_corrupt".to_owned())
        );
    }
}

#[tokio::test]
async fn a_row_of_the_logs_index_that_cannot_be_read_marks_its_event_only() {
    let (site, _) = tampered().await;
    let corrupt = Fault::Before(StoreError::Corrupt("no row".to_owned()));
    site.index.fail_next("SealIndexReader::leaf_index", corrupt);
    let events = listed(&site).await;
    assert_eq!(faults(&events), [(0, "audit.log_corrupt")]);
    assert_eq!(events[0]["sealed"], false);
    assert_eq!(events[0]["entry"]["data"]["request_id"], "r-0");
    assert_eq!(events[1]["sealed"], true);
}

#[tokio::test]
async fn tiles_that_do_not_lead_to_the_checkpoint_prove_nothing() {
    let (site, records) = tampered().await;
    let leaves = site
        .ok("/v1/audit/checkpoint")
        .await
        .header("sealcast-tree-size")
        .to_owned();
    let path = format!("tile/0/000.p/{leaves}");
    let mut tile = site.ok(&format!("/v1/audit/{path}")).await.bytes;
    // The hash of the registration, the first leaf.
    tile[0] ^= 1;
    site.change_object(&path, Some(&tile));
    let path = format!("/v1/audit/events/{}/3", records[3].stream);
    for path in [path.clone(), format!("{path}/proof")] {
        let reply = site.get(&path).await;
        assert_eq!(reply.error(), (503, "audit.log_corrupt".to_owned()));
    }
    let [(code, _)] = &site.security().await[..] else {
        panic!("{:?}", site.security().await);
    };
    assert_eq!(code, "audit.log_corrupt");
}

#[tokio::test]
async fn nothing_is_answered_as_of_a_checkpoint_that_the_logs_key_did_not_sign() {
    let (site, _) = tampered().await;
    let note = site.ok("/v1/audit/checkpoint").await;
    let smaller = note
        .text()
        .replacen("sealcast.test\n", "sealcast.tesu\n", 1);
    let mut lines: Vec<&str> = note.text().split('\n').collect();
    lines[1] = "1";
    for forged in [lines.join("\n"), smaller, "x".to_owned(), String::new()] {
        site.change_object("checkpoint", Some(forged.as_bytes()));
        for path in ["/v1/audit/events", "/v1/audit/checkpoint"] {
            let reply = site.get(path).await;
            assert_eq!(
                reply.error(),
                (503, "audit.checkpoint_invalid".to_owned()),
                "{forged:?}"
            );
        }
    }
    let found = site.security().await;
    assert_eq!(
        found,
        [(
            "audit.checkpoint_invalid".to_owned(),
            "sealcast.test".to_owned()
        )]
    );
}
