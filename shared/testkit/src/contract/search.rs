use std::collections::BTreeSet;
use std::time::Duration;

use audit::EventBody;
use domain::ports::{AuditAppender, AuditSearch, Clock};
use domain::{EventPosition, EventQuery, Lookup, ModelName, RequestId, Symbol};

use crate::build::{TestStream, event, prediction, random, version};
use crate::clock::FixedClock;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// What [`AuditSearch`] promises of what is appended through `appender`, in a store that holds nothing else.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn search_contract(appender: &dyn AuditAppender, search: &dyn AuditSearch) {
    // Two minutes before a full hour.
    let start = FixedClock::default().now_us() + 58 * MINUTE_US;
    let mut filled = Filled {
        appender,
        search,
        streams: Vec::new(),
        start,
    };
    filled.check_nothing().await;
    filled.fill().await;
    filled.check_what_is_found().await;
    filled.check_bounds_in_time().await;
    filled.check_paging_while_events_are_appended().await;
}

struct Filled<'a> {
    appender: &'a dyn AuditAppender,
    search: &'a dyn AuditSearch,
    streams: Vec<TestStream>,
    start: u64,
}

fn symbol(text: &str) -> Lookup {
    Lookup::Symbol(Symbol::parse(text).expect("a symbol"))
}

fn request(id: &str) -> Lookup {
    Lookup::Request(RequestId::parse(id).expect("a request id"))
}

impl Filled<'_> {
    async fn append(&mut self, stream: usize, body: EventBody, after_us: u64) -> EventPosition {
        let time_us = self.start + after_us;
        let record = self.streams[stream].stream.record(body, time_us);
        let record = record.expect("a record");
        let position = EventPosition::of(&record.receipt(), time_us);
        assert_eq!(self.appender.append(vec![record]).await, Ok(()));
        position
    }

    fn query(&self, lookup: Lookup) -> EventQuery {
        EventQuery {
            lookup,
            kind: None,
            from_us: self.start,
            until_us: self.start + 5 * MINUTE_US,
            after: None,
            limit: 3,
        }
    }

    /// All pages, and how many events they hold together.
    async fn pages(&self, mut query: EventQuery) -> Vec<EventPosition> {
        let mut all: Vec<EventPosition> = Vec::new();
        for _ in 0..100_000 {
            let page = self.search.search(&query).await.expect("a page");
            assert!(page.events.len() <= query.limit, "at most `limit` events");
            all.extend(page.events);
            assert!(all.is_sorted_by(|a, b| a < b), "ascending, and none twice");
            let Some(next) = page.next else { return all };
            assert!(query.after < Some(next), "every page gets on");
            query.after = Some(next);
        }
        panic!("paging does not end");
    }

    /// What is found, once all that is expected is; an index may lag behind for 10 s.
    async fn found(&self, query: EventQuery, expected: &[EventPosition], why: &str) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        for _ in 0..100 {
            let found = self.pages(query.clone()).await;
            if found == expected {
                return;
            }
            let known: BTreeSet<_> = expected.iter().collect();
            assert!(
                found.iter().all(|position| known.contains(position)),
                "{why}: found {found:?}, expected only {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{why}: not all of {expected:?} were found");
    }

    async fn check_nothing(&self) {
        for lookup in [Lookup::Everything, symbol("SPX"), request("id")] {
            self.found(self.query(lookup), &[], "in an empty store")
                .await;
        }
    }

    /// Streams of several first digits, for events over several minutes.
    async fn fill(&mut self) {
        for first in [0x00, 0x70, 0xf0] {
            let mut id: [u8; 16] = random();
            id[0] = first;
            let stream = TestStream::of(id, "host");
            assert_eq!(self.appender.register(&stream.registration).await, Ok(()));
            self.streams.push(stream);
        }
    }

    async fn check_what_is_found(&mut self) {
        let mut spx = Vec::new();
        let mut ndx = Vec::new();
        let mut others = Vec::new();
        for (stream, minute) in [(0, 0), (1, 0), (2, 1), (0, 1), (1, 3), (2, 3)] {
            let at = minute * MINUTE_US;
            spx.push(self.append(stream, prediction("a", &["SPX"]), at).await);
            let both = prediction("b", &["SPX", "NDX", "SPX"]);
            let both = self.append(stream, both, at + SECOND_US).await;
            spx.push(both);
            ndx.push(both);
            // At the very same time.
            others.push(self.append(stream, event("x"), at + SECOND_US).await);
        }
        let b: Vec<_> = ndx.clone();
        let a: Vec<_> = spx.iter().filter(|p| !b.contains(p)).copied().collect();
        let all = [spx.clone(), others.clone()].concat();
        let model = |text| {
            let name = ModelName::parse("spx-direction").expect("a name");
            Lookup::Model(name, version(text))
        };
        for (lookup, expected, why) in [
            (Lookup::Everything, &all, "everything"),
            (symbol("SPX"), &spx, "one symbol"),
            (symbol("NDX"), &ndx, "a symbol among others"),
            (symbol("DAX"), &Vec::new(), "an unknown symbol"),
            (model("1.0.0"), &spx, "a model"),
            (model("1.0.1"), &Vec::new(), "another version of a model"),
            (request("a"), &a, "a request"),
            (request("b"), &b, "another request"),
            (request("c"), &Vec::new(), "an unknown request"),
        ] {
            self.found(self.query(lookup), expected, why).await;
        }
        for (kind, expected) in [
            ("prediction", &spx),
            ("security", &others),
            ("replay", &Vec::new()),
        ] {
            let mut query = self.query(Lookup::Everything);
            query.kind = Some(kind.to_owned());
            self.found(query, expected, kind).await;
            let mut query = self.query(symbol("SPX"));
            query.kind = Some(kind.to_owned());
            let expected = if kind == "security" {
                &Vec::new()
            } else {
                expected
            };
            self.found(query, expected, kind).await;
        }
        for limit in [1, 1000] {
            let mut query = self.query(Lookup::Everything);
            query.limit = limit;
            self.found(query, &all, "pages of another length").await;
        }
    }

    async fn check_bounds_in_time(&self) {
        let all = self.pages(self.query(Lookup::Everything)).await;
        let bound = self.start + MINUTE_US + SECOND_US;
        for lookup in [Lookup::Everything, symbol("SPX"), request("a")] {
            let among = self.pages(self.query(lookup.clone())).await;
            let mut early = self.query(lookup.clone());
            early.until_us = bound;
            let mut late = self.query(lookup);
            late.from_us = bound;
            let (before, after): (Vec<_>, Vec<_>) =
                among.into_iter().partition(|p| p.time_us < bound);
            self.found(early, &before, "before a time").await;
            self.found(late, &after, "from a time on").await;
        }
        for (number, position) in all.iter().enumerate() {
            let mut rest = self.query(Lookup::Everything);
            rest.after = Some(*position);
            self.found(rest, &all[number + 1..], "after an event").await;
        }
        let mut none = self.query(Lookup::Everything);
        none.until_us = none.from_us;
        self.found(none, &[], "a range without length").await;
    }

    async fn check_paging_while_events_are_appended(&mut self) {
        let before = self.pages(self.query(Lookup::Everything)).await;
        let mut query = self.query(Lookup::Everything);
        let mut found = Vec::new();
        let mut number = 0;
        loop {
            let page = self.search.search(&query).await.expect("a page");
            found.extend(page.events);
            let Some(next) = page.next else { break };
            query.after = Some(next);
            if number < 20 {
                // Before and after what was found.
                let at = (number % 5) * MINUTE_US;
                self.append(1, event("meanwhile"), at).await;
            }
            number += 1;
        }
        assert!(
            found.is_sorted_by(|a, b| a < b),
            "ascending, and none twice"
        );
        assert!(
            before.iter().all(|position| found.contains(position)),
            "what was there before is found"
        );
    }
}
