//! How much the busiest key of the audit table and of each index takes at 1,000 events a second, through the functions
//! that make the keys. `DynamoDB` gives each partition key 1,000 write units a second.
//!
//! `cargo nextest run --locked --workspace --all-features --lib -E 'test(hot_keys)' --run-ignored all --no-capture`
//! prints the table of `docs/audit.md`.

use std::collections::HashMap;

use audit::StreamId;
use domain::{EventKeys, ModelName, RequestId, Symbol};
use testkit::build::{self, TestStream};

use super::rows::{IndexKeys, event_row, stream_key};
use crate::table::Item;

/// Write units a second that one partition key takes.
const LIMIT: u32 = 1_000;
const EVENTS_A_SECOND: u64 = 1_000;
/// Write units of an event's row in the table: the example's has less than 2 KB with its keys.
const ROW_UNITS: u32 = 2;
/// Write units of a row in an index: keys and kind have less than 1 KB.
const INDEX_UNITS: u32 = 1;
/// The fewest environments that answer 1,000 requests a second, one at a time, 20 ms each.
const ENVIRONMENTS: usize = 20;
const SYMBOLS: usize = 500;
const START_US: u64 = 1_767_225_600_000_000;

/// Which symbols are asked for, out of 500.
#[derive(Debug, Clone, Copy)]
enum Traffic {
    /// Each as often as any other.
    Even,
    /// The second half as often as the first, the third a third as often, and so on.
    Zipf,
    /// Always the same.
    One,
}

impl Traffic {
    /// How often each symbol is asked for, added up and scaled to 1.
    fn cumulated(self) -> Vec<f64> {
        let weights = (0..SYMBOLS).map(|rank| match self {
            Self::Even => 1.0,
            Self::Zipf => 1.0 / (rank + 1) as f64,
            Self::One => f64::from(u8::from(rank == 0)),
        });
        let sums: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let whole = sums[SYMBOLS - 1];
        sums.into_iter().map(|sum| sum / whole).collect()
    }
}

/// Numbers that look random and are the same in every run: `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Write units a second of the busiest key in its busiest second: of the table, and of each index.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hottest {
    table: u32,
    time: u32,
    symbol: u32,
    model: u32,
    request: u32,
}

impl Hottest {
    fn all(&self) -> [u32; 5] {
        [self.table, self.time, self.symbol, self.model, self.request]
    }
}

/// These seconds of this traffic, one prediction an event, written by so many streams.
fn simulate(traffic: Traffic, streams: usize, seconds: impl Iterator<Item = u64>) -> Hottest {
    let mut random = Random(7);
    let mut streams: Vec<(StreamId, u64)> = (0..streams)
        .map(|_| {
            let id = u128::from(random.next()) << 64 | u128::from(random.next());
            (StreamId(id.to_be_bytes()), 0)
        })
        .collect();
    let symbols: Vec<Symbol> = (0..SYMBOLS)
        .map(|rank| Symbol::parse(&format!("SYM{rank}")).unwrap())
        .collect();
    let shares = traffic.cumulated();
    let model = ModelName::parse("spx-direction").unwrap();
    let mut keys = EventKeys {
        time_us: START_US,
        kind: "prediction".to_owned(),
        model: Some((model, build::version("1.0.0"))),
        symbols: vec![],
        request: None,
    };
    let mut hottest = Hottest::default();
    for second in seconds {
        let mut written: [HashMap<String, u32>; 5] = Default::default();
        for event in 0..EVENTS_A_SECOND {
            let drawn = random.fraction();
            let chosen = shares.partition_point(|share| *share <= drawn);
            let writer = random.below(streams.len() as u64) as usize;
            let (stream, seq) = &mut streams[writer];
            keys.time_us = START_US + second * 1_000_000 + event * (1_000_000 / EVENTS_A_SECOND);
            keys.symbols = vec![symbols[chosen.min(SYMBOLS - 1)].clone()];
            let id = format!("{:032x}", second * EVENTS_A_SECOND + event);
            keys.request = Some(RequestId::parse(&id).unwrap());
            let stands = IndexKeys::of(*stream, *seq, &keys);
            *seq += 1;
            let [table, time, symbol, model, request] = &mut written;
            *table.entry(stream_key(*stream)).or_default() += ROW_UNITS;
            for (index, key) in [
                (time, Some(stands.time)),
                (symbol, stands.symbol),
                (model, stands.model),
                (request, stands.request),
            ] {
                *index.entry(key.unwrap()).or_default() += INDEX_UNITS;
            }
        }
        let most = written.map(|keys| keys.into_values().max().unwrap_or(0));
        hottest = Hottest {
            table: hottest.table.max(most[0]),
            time: hottest.time.max(most[1]),
            symbol: hottest.symbol.max(most[2]),
            model: hottest.model.max(most[3]),
            request: hottest.request.max(most[4]),
        };
    }
    hottest
}

fn print(what: &str, hottest: &Hottest) {
    let cells = hottest.all().map(|units| units.to_string()).join(" | ");
    println!("| {what} | {cells} |");
}

fn assert_cool(what: &str, hottest: &Hottest) {
    print(what, hottest);
    for units in hottest.all() {
        assert!(units > 0 && units <= LIMIT / 5, "{what}: {hottest:?}");
    }
}

#[test]
#[ignore = "a minute and a half without optimisation; the next test looks at every thirtieth second of the same hour"]
fn in_a_whole_hour_of_five_hundred_symbols_no_key_takes_a_fifth_of_its_share() {
    let hottest = simulate(Traffic::Zipf, ENVIRONMENTS, 0..3_600);
    assert_cool("an hour, 500 symbols by Zipf's law", &hottest);
}

#[test]
fn in_an_hour_of_five_hundred_symbols_no_key_takes_a_fifth_of_its_share() {
    let hottest = simulate(Traffic::Zipf, ENVIRONMENTS, (0..3_600).step_by(30));
    assert_cool("every 30th second of it", &hottest);
}

#[test]
fn a_market_in_which_everybody_asks_for_one_symbol_heats_no_key() {
    for (what, traffic) in [
        ("a minute, 500 symbols alike", Traffic::Even),
        ("a minute, one symbol", Traffic::One),
    ] {
        assert_cool(what, &simulate(traffic, ENVIRONMENTS, 0..60));
    }
}

#[test]
fn one_process_that_writes_everything_heats_no_index_and_only_its_own_stream() {
    let hottest = simulate(Traffic::One, 1, 0..60);
    print("a minute, one symbol, one process", &hottest);
    assert_eq!(hottest.table, EVENTS_A_SECOND as u32 * ROW_UNITS);
    for units in &hottest.all()[1..] {
        assert!(*units <= LIMIT / 5, "{hottest:?}");
    }
}

#[test]
fn a_row_takes_the_units_that_are_counted() {
    // As DynamoDB counts: names and values.
    fn size(row: &Item, names: &[&str]) -> usize {
        let of = |name: &str| row[name].as_s().map_or(0, String::len) + name.len();
        names.iter().map(|name| of(name)).sum()
    }
    let mut test = TestStream::fresh();
    let mut row = |request: &str, symbol: &str| {
        let body = build::prediction(request, &[symbol]);
        event_row(&test.stream.record(body, START_US).unwrap()).unwrap()
    };
    let longest = row(&"9".repeat(128), &"S".repeat(32));
    for index in ["t", "y", "m", "r"] {
        let (pk, sk) = (format!("{index}_pk"), format!("{index}_sk"));
        let bytes = size(&longest, &["pk", "sk", "kind", &pk, &sk]);
        assert!(bytes < 1024, "{index}: {bytes}");
    }
    // The example's entry has 1,104 bytes, a signature 64.
    let usual = row("0b9a2c3e-7f6d-4c53-9d0e-6f2f0a1b2c3d", "SPX");
    let keys = [
        "pk", "sk", "kind", "t_pk", "t_sk", "y_pk", "y_sk", "m_pk", "m_sk", "r_pk", "r_sk",
    ];
    let bytes = 1_104 + 64 + "entry".len() + "sig".len() + "ttl".len() + 8 + size(&usual, &keys);
    assert_eq!(bytes.div_ceil(1024), ROW_UNITS as usize, "{bytes}");
}
