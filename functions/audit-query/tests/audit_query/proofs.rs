use audit::checkpoint::TrustedLog;
use audit::proof_file::ProofFile;
use audit::tiles::{parse_entries, parse_hashes, parse_signatures};
use audit::{SignedRegistration, export};
use axum::body::Body;
use testkit::build::{event, prediction};

use crate::support::{ORIGIN, SECOND, Site, auditors, site, vkey};

fn trusted() -> TrustedLog {
    TrustedLog::by_keys(ORIGIN, vec![vkey()])
}

/// A log of more than one tile, and one event beyond its checkpoint.
async fn grown() -> (Site, Vec<audit::Record>) {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let mut records = Vec::new();
    for number in 0..300 {
        let body = if number % 2 == 0 {
            prediction(&format!("r-{number}"), &["SPX"])
        } else {
            event("x")
        };
        records.push(site.append(&mut test, body, number).await);
    }
    site.seal().await;
    records.push(site.append(&mut test, event("unsealed"), 300).await);
    (site, records)
}

#[tokio::test]
async fn every_sealed_event_comes_with_a_proof_that_verifies_and_no_other_does() {
    let (site, records) = grown().await;
    for record in records.iter().step_by(37).take(8) {
        let path = format!("/v1/audit/events/{}/{}", record.stream, record.seq);
        let reply = site.ok(&path).await;
        let json = reply.json();
        let entry = String::from_utf8(record.entry.clone()).unwrap();
        assert!(reply.text().contains(&format!("\"entry\":{entry}")));
        assert_eq!(json["sealed"], true);
        let proof = ProofFile::parse(json["proof"].as_str().unwrap().as_bytes()).unwrap();
        let proven = proof.verify(&record.entry, &trusted()).unwrap();
        assert_eq!(proven.index, json["index"].as_u64().unwrap());
        assert_eq!(
            proven.checkpoint.size,
            json["as_of"]["size"].as_u64().unwrap()
        );
        assert!(proof.verify(&records[300].entry, &trusted()).is_err());
        let alone = site.ok(&format!("{path}/proof")).await;
        assert_eq!(alone.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(alone.text(), json["proof"]);
        assert_eq!(
            alone.header("sealcast-tree-size"),
            json["as_of"]["size"].to_string()
        );
    }
}

#[tokio::test]
async fn an_event_that_is_not_sealed_has_no_proof_yet() {
    let (site, records) = grown().await;
    let unsealed = &records[300];
    let path = format!("/v1/audit/events/{}/{}", unsealed.stream, unsealed.seq);
    let json = site.ok(&path).await.json();
    assert_eq!(json["sealed"], false);
    assert!(json.get("proof").is_none() && json.get("index").is_none());
    let reply = site.get(&format!("{path}/proof")).await;
    assert_eq!(reply.error(), (409, "audit.not_sealed".to_owned()));
    let leaves = json["as_of"]["size"].as_u64().unwrap();
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains(&format!("as of tree size {leaves}")),
        "{error}"
    );
    site.seal().await;
    site.ok(&format!("{path}/proof")).await;
    let beyond = format!("/v1/audit/events/{}/301", unsealed.stream);
    assert_eq!(
        site.get(&beyond).await.error(),
        (404, "audit.event_unknown".to_owned())
    );
}

#[tokio::test]
async fn checkpoint_key_and_tiles_are_what_a_log_client_reads() {
    let (site, records) = grown().await;
    let note = site.ok("/v1/audit/checkpoint").await;
    assert_eq!(note.header("cache-control"), "no-store");
    let (checkpoint, _) = trusted().open(&note.bytes).unwrap();
    let leaves = checkpoint.size;
    assert!(leaves > 300);
    assert_eq!(
        site.ok("/v1/audit/log.vkey").await.text(),
        format!("{}\n", vkey())
    );

    let width = (leaves - 256) as usize;
    let whole = site.ok("/v1/audit/tile/0/000").await;
    assert_eq!(parse_hashes(&whole.bytes, 256).unwrap().len(), 256);
    let forever = "private, max-age=31536000, immutable";
    assert_eq!(whole.header("cache-control"), forever);
    let partial = site.ok(&format!("/v1/audit/tile/0/001.p/{width}")).await;
    assert!(parse_hashes(&partial.bytes, width).is_ok());
    assert_eq!(partial.header("cache-control"), forever);
    let entries = site.ok("/v1/audit/tile/entries/000").await;
    let signatures = site.ok("/v1/audit/tile/signatures/000").await;
    let entries = parse_entries(&entries.bytes, 256).unwrap();
    let signatures = parse_signatures(&signatures.bytes, 256).unwrap();
    let at = entries
        .iter()
        .position(|entry| *entry == records[7].entry)
        .unwrap();
    assert_eq!(signatures[at], records[7].signature);
    let beyond = site
        .get(&format!("/v1/audit/tile/0/001.p/{}", width + 1))
        .await;
    assert_eq!(beyond.error(), (404, "audit.tile_unknown".to_owned()));

    let head = auditors("/v1/audit/tile/0/000").method("HEAD");
    let head = site.send(head.body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    assert_eq!(head.header("cache-control"), forever);
}

#[tokio::test]
async fn entries_are_compressed_where_the_caller_takes_that() {
    let (site, _) = grown().await;
    let plain = site.ok("/v1/audit/tile/entries/000").await;
    let request = auditors("/v1/audit/tile/entries/000").header("accept-encoding", "gzip");
    let small = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert_eq!(small.header("vary"), "Accept-Encoding");
    assert!(small.bytes.len() < plain.bytes.len() / 2);
}

#[tokio::test]
async fn the_registration_is_the_first_line_of_the_stream() {
    let (site, records) = grown().await;
    let path = format!("/v1/audit/streams/{}/registration", records[0].stream);
    let reply = site.ok(&path).await;
    let signed: SignedRegistration = export::parse_registration_line(&reply.bytes).unwrap();
    let stored = site
        .store
        .audit_reader()
        .registration(records[0].stream)
        .await
        .unwrap();
    assert_eq!(signed, stored);
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_key_is_taken_until_there_is_one_of_the_new_key() {
    let site = crate::support::site_trusting(vec![vkey()]);
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    site.append(&mut test, event("x"), 0).await;
    site.seal().await;
    let note = site.ok("/v1/audit/checkpoint").await;
    assert!(trusted().open(&note.bytes).is_ok());
    let new = site.ok("/v1/audit/log.vkey").await;
    assert_ne!(new.text(), format!("{}\n", vkey()));
}
