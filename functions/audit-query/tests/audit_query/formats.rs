use audit::EventBody;
use audit::event::Refusal;
use axum::body::Body;
use serde_json::Value;
use testkit::build::event;

use crate::events::{RANGE, filled};
use crate::support::{SECOND, auditors, limits, place_of, site, site_with};

#[tokio::test]
async fn every_format_has_the_same_events() {
    let site = filled().await;
    site.seal().await;
    let path = format!("/v1/audit/events?{RANGE}&symbol=SPX");
    let json = site.ok(&path).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(json.header("cache-control"), "no-store");
    assert_eq!(json.header("x-content-type-options"), "nosniff");

    let lines = site.ok(&format!("{path}&format=ndjson")).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let events: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Value::from(events.clone()), json.json()["events"]);
    assert!(lines.text().ends_with('\n'));

    let accept = auditors(&path).header("accept", "text/csv");
    let csv = site.send(accept.body(Body::empty()).unwrap()).await;
    assert_eq!(
        csv.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    assert!(csv.text().ends_with("\r\n"));
    let mut reader = csv::Reader::from_reader(&*csv.bytes);
    let columns = "time,kind,stream,seq,leaf_hash,sealed,index,model,symbols,request_id,principal,code,fault,entry,sig_hex";
    let header: Vec<_> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(header.join(","), columns);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), events.len());
    for (row, event) in rows.iter().zip(&events) {
        let entry: Value = serde_json::from_str(&row[13]).unwrap();
        assert_eq!(entry, event["entry"]);
        assert_eq!(
            (&row[0], &row[1]),
            (entry["time"].as_str().unwrap(), "prediction")
        );
        assert_eq!(row[2], event["stream"]);
        assert_eq!(row[3], event["seq"].to_string());
        assert_eq!(row[4], event["leaf_hash"]);
        assert_eq!((&row[5], &row[6]), ("true", &*event["index"].to_string()));
        assert_eq!(&row[7], "spx-direction@1.0.0");
        assert!(["SPX", "SPX NDX"].contains(&&row[8]));
        assert_eq!(row[9], entry["data"]["request_id"]);
        assert_eq!((&row[10], &row[11], &row[12]), ("anna", "", ""));
        assert_eq!(row[14].len(), 128);
    }
    for reply in [&json, &lines, &csv] {
        assert_eq!(
            reply.header("sealcast-tree-size"),
            json.header("sealcast-tree-size")
        );
        assert_eq!(reply.header("sealcast-next"), "");
    }
}

#[tokio::test]
async fn no_cell_is_a_formula_and_a_line_break_in_a_cell_stays_in_it() {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let refusal = EventBody::Refusal(Refusal {
        code: "=cmd|' /C calc'!A0".to_owned(),
        error: "line one\r\nline \"two\"".to_owned(),
        failures: vec![],
        field: None,
        principal: Some("@SUM(1+1)".to_owned()),
        request_id: "-2+3".to_owned(),
        requested: None,
        route: "GET /".to_owned(),
        status: 400,
        symbol: None,
    });
    site.append(&mut test, refusal, 0).await;
    let reply = site.ok("/v1/audit/events?kind=refusal&format=csv").await;
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(&*reply.bytes)
        .records()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(&rows[0][9], "'-2+3");
    assert_eq!(&rows[0][10], "'@SUM(1+1)");
    assert_eq!(&rows[0][11], "'=cmd|' /C calc'!A0");
    let entry: Value = serde_json::from_str(&rows[0][13]).unwrap();
    assert_eq!(entry["data"]["error"], "line one\r\nline \"two\"");
}

#[tokio::test]
async fn without_events_lines_are_none_and_csv_is_its_header() {
    let site = site();
    assert_eq!(site.ok("/v1/audit/events?format=ndjson").await.bytes, b"");
    let csv = site.ok("/v1/audit/events?format=csv&symbol=SPX").await;
    assert_eq!(csv.text().lines().count(), 1);
    assert!(csv.text().starts_with("time,kind,"));
}

#[tokio::test]
async fn an_answer_that_grows_too_long_ends_early_and_goes_on_by_its_cursor() {
    for (streams, format) in [
        (true, "json"),
        (false, "json"),
        (false, "ndjson"),
        (false, "csv"),
    ] {
        let site = site_with(audit_query::Limits {
            answer_bytes: 4000,
            streams,
            ..limits()
        });
        site.clock.advance(60 * SECOND);
        let mut test = site.stream(1).await;
        for number in 0..20 {
            site.append(&mut test, event(&"x".repeat(1000)), number)
                .await;
        }
        let path = format!("/v1/audit/events?kind=security&format={format}");
        let mut reply = site.ok(&path).await;
        let (mut seen, mut pages) = (0, 1);
        loop {
            let count = match format {
                "json" => reply.places().len(),
                "ndjson" => reply.text().lines().count(),
                _ => reply.text().lines().count() - 1,
            };
            assert!((1..=4).contains(&count), "{count} in {format}");
            assert!(reply.bytes.len() < 4000 + 2500);
            seen += count;
            let next = reply.header("sealcast-next").to_owned();
            if next.is_empty() {
                break;
            }
            pages += 1;
            reply = site.ok(&format!("{path}&cursor={next}")).await;
        }
        assert_eq!(seen, 20, "{format}");
        assert!(pages >= 5);
        let returned: u64 = site
            .queries()
            .await
            .iter()
            .map(|query| query.returned)
            .sum();
        assert_eq!(returned, 20, "every record says how many were given");
    }
}

#[tokio::test]
async fn lines_are_streamed_beyond_what_is_held_in_memory() {
    let site = site_with(audit_query::Limits {
        answer_bytes: 4000,
        ..limits()
    });
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    for number in 0..300 {
        site.append(&mut test, event("x"), number).await;
    }
    let reply = site
        .ok("/v1/audit/events?kind=security&format=ndjson&limit=1000")
        .await;
    let seqs: Vec<u64> = reply
        .text()
        .lines()
        .map(|line| place_of(&serde_json::from_str(line).unwrap()).1)
        .collect();
    assert_eq!(seqs, (0..300).collect::<Vec<_>>());
    assert_eq!(site.queries().await[0].returned, 300);
    let csv = site
        .ok("/v1/audit/events?kind=security&format=csv&limit=300")
        .await;
    assert_eq!(csv::Reader::from_reader(&*csv.bytes).records().count(), 300);
    assert_ne!(csv.header("sealcast-next"), "", "the page is full");
}
