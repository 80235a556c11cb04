use std::collections::BTreeSet;

use audit::StreamId;
use audit_query::Cursor;
use domain::EventPosition;
use proptest::prelude::*;
use testkit::build::{TestStream, event, prediction};

use crate::events::{RANGE, filled};
use crate::support::{NOW, SECOND, Site, limits, site, site_named, site_with};

#[tokio::test]
async fn a_cursor_of_another_question_is_refused_and_says_so() {
    let site = filled().await;
    let path = format!("/v1/audit/events?{RANGE}&symbol=SPX&kind=prediction&limit=2");
    let reply = site.ok(&path).await;
    let next = reply.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("sealcast-next"), next);
    for (query, field) in [
        ("symbol=NDX&kind=prediction", "cursor"),
        ("symbol=SPX", "cursor"),
        ("kind=prediction", "cursor"),
        ("symbol=SPX&kind=security", "cursor"),
        ("model=spx-direction@1.0.0&kind=prediction", "cursor"),
        ("symbol=SPX&kind=prediction&request_id=a", "cursor"),
        (
            "symbol=SPX&kind=prediction&from=2026-01-01T00:00:01Z",
            "from",
        ),
        (
            "symbol=SPX&kind=prediction&until=2026-01-01T00:10:01Z",
            "until",
        ),
    ] {
        let reply = site
            .get(&format!("/v1/audit/events?{query}&cursor={next}"))
            .await;
        assert_eq!(
            reply.error(),
            (400, "query.cursor_mismatch".to_owned()),
            "{query}"
        );
        let json = reply.json();
        assert_eq!(json["field"], field, "{query}");
        assert!(
            json["error"].as_str().unwrap().contains("another question"),
            "{json}"
        );
    }
    // Its own question may leave out the range, and say another format and length.
    let again = format!("/v1/audit/events?symbol=SPX&kind=prediction&limit=1000&cursor={next}");
    assert_eq!(site.ok(&again).await.places().len(), 10);
    let lines = site.ok(&format!("{again}&{RANGE}&format=ndjson")).await;
    assert_eq!(lines.text().lines().count(), 10);
}

#[tokio::test]
async fn a_cursor_of_another_log_is_refused() {
    let path = "/v1/audit/events?symbol=SPX";
    let next = filled().await.ok(&format!("{path}&limit=2")).await;
    let next = next.header("sealcast-next").to_owned();
    let other = site_named("sealcast.other");
    let reply = other.get(&format!("{path}&cursor={next}")).await;
    assert_eq!(reply.error(), (400, "query.cursor_mismatch".to_owned()));
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("the same log"), "{error}");
}

#[tokio::test]
async fn a_cursor_that_was_made_up_is_refused_or_opens_what_anybody_may_ask() {
    let site = filled().await;
    let path = format!("/v1/audit/events?{RANGE}&request_id=request-1-0&limit=1");
    let end = 253_402_300_800_000_000;
    let bound_to = audit_query::cursor::digest_of("request_id=request-1-0\nlog=sealcast.test\n");
    for (from_us, until_us, time_us, status) in [
        (0, NOW + 600 * SECOND, 0, 200),
        (0, NOW + 600 * SECOND, end - 1, 200),
        (0, end - 1, NOW, 200),
        (0, end, NOW, 400),
        (0, u64::MAX, NOW, 400),
        (0, NOW, u64::MAX, 400),
        (NOW, NOW, NOW, 400),
        (NOW + 1, NOW, NOW, 400),
    ] {
        let made_up = Cursor {
            from_us,
            until_us,
            after: EventPosition {
                time_us,
                stream: StreamId([0xff; 16]),
                seq: u64::MAX,
            },
            filters: bound_to,
        };
        let asked = format!("/v1/audit/events?request_id=request-1-0&cursor={made_up}");
        let reply = site.get(&asked).await;
        assert_eq!(reply.status, status, "{made_up:?}: {reply:?}");
        if status == 400 {
            assert_eq!(reply.error_code(), "query.cursor_invalid");
        }
    }
    // A range that may not be asked for may not be gone on with either.
    let wide = Cursor {
        from_us: NOW - 2 * 86_400 * SECOND,
        until_us: NOW,
        after: EventPosition {
            time_us: NOW - 1,
            stream: StreamId([0; 16]),
            seq: 0,
        },
        filters: audit_query::cursor::digest_of("log=sealcast.test\n"),
    };
    let reply = site.get(&format!("/v1/audit/events?cursor={wide}")).await;
    assert_eq!(reply.error(), (400, "query.range_too_wide".to_owned()));
    site.ok(&path).await;
}

#[tokio::test]
async fn events_that_are_no_longer_found_are_said_to_be_so() {
    let kept_us = 90 * 86_400 * SECOND;
    let site = site_with(audit_query::Limits {
        kept_us: Some(kept_us),
        ..limits()
    });
    let mut test = site.stream(1).await;
    site.append(&mut test, prediction("a", &["SPX"]), 60 * SECOND)
        .await;
    site.clock.advance(kept_us + 60 * SECOND);
    // Now those from 00:01 on are found.
    let until = |time: &str| {
        format!("/v1/audit/events?symbol=SPX&from=2026-01-01T00:00:00Z&until=2026-01-01T{time}Z")
    };
    let reply = site.get(&until("00:01:00")).await;
    assert_eq!(reply.error(), (400, "query.range_expired".to_owned()));
    let json = reply.json();
    assert_eq!(json["field"], "until");
    let error = json["error"].as_str().unwrap();
    for part in [
        "90 days",
        "from 2026-01-01T00:01:00.000000Z on",
        "/v1/audit/events/{stream}/{seq}",
        "copy of the log's bucket",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let partly = site.ok(&until("00:02:00")).await;
    let from_when_on = "2026-01-01T00:01:00.000000Z";
    assert_eq!(partly.json()["expired_before"], from_when_on);
    assert_eq!(partly.header("sealcast-expired-before"), from_when_on);
    assert_eq!(partly.places().len(), 1);
    for format in ["ndjson", "csv"] {
        let path = format!("{}&format={format}", until("00:02:00"));
        let lines = site.ok(&path).await;
        assert_eq!(lines.header("sealcast-expired-before"), from_when_on);
    }
    let now = site.ok("/v1/audit/events?symbol=SPX").await;
    assert!(now.json().get("expired_before").is_none());
    assert_eq!(now.header("sealcast-expired-before"), "");
    // By its place it is still given.
    let place = format!("/v1/audit/events/{}/0", "01".repeat(16));
    site.ok(&place).await;
}

#[tokio::test]
async fn a_cursor_keeps_the_range_that_began_an_hour_before_the_first_page() {
    let site = filled().await;
    let first = site.ok("/v1/audit/events?limit=3&symbol=SPX").await;
    let next = first.header("sealcast-next").to_owned();
    assert_ne!(next, "");
    site.clock.advance(7200 * SECOND);
    let rest = site
        .ok(&format!(
            "/v1/audit/events?limit=100&symbol=SPX&cursor={next}"
        ))
        .await;
    assert_eq!((first.places().len(), rest.places().len()), (3, 9));
    let record = site.queries().await.pop().unwrap();
    assert_eq!(record.filters["from"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(record.filters["until"], "2026-01-01T01:00:00.000000Z");
}

#[tokio::test]
async fn an_event_of_an_earlier_minute_that_comes_late_is_in_no_later_page_and_in_the_next_question()
 {
    let site = site();
    site.clock.advance(3600 * SECOND);
    let (mut early, mut late) = (site.stream(1).await, site.stream(2).await);
    for minute in [1, 3, 5] {
        let at_us = minute * 60 * SECOND;
        site.append(&mut early, prediction("a", &["SPX"]), at_us)
            .await;
    }
    let path = format!("/v1/audit/events?{RANGE}&symbol=SPX&limit=2");
    let first = site.ok(&path).await;
    assert_eq!(first.places().len(), 2);
    // Before where the paging is, and after.
    for (id, minute) in [("b", 2), ("c", 4)] {
        let at_us = minute * 60 * SECOND;
        site.append(&mut late, prediction(id, &["SPX"]), at_us)
            .await;
    }
    let next = first.header("sealcast-next");
    let rest = site.ok(&format!("{path}&cursor={next}")).await.places();
    let (early, late) = (early.stream.id(), late.stream.id());
    assert_eq!(rest, [(late, 1), (early, 2)], "none twice");
    let again = site.ok(&path.replace("&limit=2", "")).await;
    let all = [(early, 0), (late, 0), (early, 1), (late, 1), (early, 2)];
    assert_eq!(again.places(), all);
}

/// What happens between pages.
#[derive(Debug, Clone)]
struct Append {
    stream: usize,
    symbol: Option<&'static str>,
    at_s: u64,
}

fn append() -> impl Strategy<Value = Append> {
    let symbol = prop_oneof![Just(None), Just(Some("SPX")), Just(Some("NDX"))];
    (0_usize..3, symbol, 0_u64..300).prop_map(|(stream, symbol, at_s)| Append {
        stream,
        symbol,
        at_s,
    })
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    All,
    Symbol,
    Kind,
}

type Known = BTreeSet<(u64, StreamId, u64)>;

async fn put(
    site: &Site,
    streams: &mut [TestStream],
    append: &Append,
    ask: Ask,
) -> Option<(u64, StreamId, u64)> {
    let body = match append.symbol {
        Some(symbol) => prediction("a", &[symbol]),
        None => event("x"),
    };
    let at = append.at_s * SECOND;
    let record = site.append(&mut streams[append.stream], body, at).await;
    let asked = match ask {
        Ask::All => true,
        Ask::Symbol => append.symbol == Some("SPX"),
        Ask::Kind => append.symbol.is_none(),
    };
    asked.then_some((at, record.stream, record.seq))
}

fn run(before: Vec<Append>, between: Vec<Vec<Append>>, limits: Vec<usize>, ask: Ask) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let site = site();
        site.clock.advance(3600 * SECOND);
        let mut streams = Vec::new();
        for first in [0, 0x70, 0xf0] {
            streams.push(site.stream(first).await);
        }
        let mut known = Known::new();
        for append in &before {
            known.extend(put(&site, &mut streams, append, ask).await);
        }
        let mut later = Known::new();
        let filter = match ask {
            Ask::All => "",
            Ask::Symbol => "&symbol=SPX",
            Ask::Kind => "&kind=security",
        };
        let (mut found, mut cursor, mut page) = (Vec::new(), String::new(), 0);
        loop {
            let limit = limits[page % limits.len()];
            let path = format!("/v1/audit/events?{RANGE}{filter}&limit={limit}{cursor}");
            let json = site.ok(&path).await.json();
            let events = json["events"].as_array().unwrap();
            assert!(events.len() <= limit);
            for event in events {
                let time = domain::lookup::parse_time(event["entry"]["time"].as_str().unwrap());
                let (stream, seq) = crate::support::place_of(event);
                found.push((time.unwrap() - crate::support::NOW, stream, seq));
            }
            let Some(next) = json["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            for append in between.get(page).into_iter().flatten() {
                later.extend(put(&site, &mut streams, append, ask).await);
            }
            page += 1;
            assert!(page < 1000, "paging does not end");
        }
        assert!(
            found.is_sorted_by(|a, b| a < b),
            "ascending, and none twice: {found:?}"
        );
        let found: Known = found.into_iter().collect();
        assert!(
            known.is_subset(&found),
            "all that was there before is found"
        );
        let all: Known = known.union(&later).copied().collect();
        assert!(
            found.is_subset(&all),
            "nothing is found that was not asked for"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn paging_gives_every_event_once_while_others_are_appended(
        before in proptest::collection::vec(append(), 0..25),
        between in proptest::collection::vec(proptest::collection::vec(append(), 0..3), 0..8),
        limits in proptest::collection::vec(1_usize..6, 1..4),
        ask in prop_oneof![Just(Ask::All), Just(Ask::Symbol), Just(Ask::Kind)],
    ) {
        run(before, between, limits, ask);
    }
}
