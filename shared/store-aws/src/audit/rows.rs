//! How events and registrations stand in the table.

use audit::{Record, SignedRegistration, StreamId};
use domain::ports::parse_registration;
use domain::{EventKeys, EventPosition, StoreError, lookup};

use crate::table::{Item, array_of, bytes, bytes_of, number, row, text, text_of};

/// How long the audit table keeps the row of an event, in seconds: 90 days, after which it may be gone at any time.
/// Registrations are kept for good.
pub const EVENTS_KEPT_S: u64 = 90 * 86_400;
/// Sort key of a registration.
pub(super) const REGISTRATION: &str = "registration";
/// Partition key of the directory.
pub(super) const DIRECTORY: &str = "G#";
/// Stands in the place of the symbol where an event is about several: no symbol is written so.
pub(super) const SEVERAL: &str = "*";

/// Partition key of a stream.
pub(super) fn stream_key(stream: StreamId) -> String {
    format!("S#{stream}")
}

/// Sort key of an event: as many digits as the largest number has, so that text sorts as numbers do.
pub(super) fn seq_key(seq: u64) -> String {
    format!("{seq:020}")
}

/// What spreads streams over the partitions of their directory: the first hexadecimal digit of the id, 0 to 15.
pub(super) fn spread(stream: StreamId) -> u8 {
    stream.0[0] >> 4
}

/// Partitions over which the streams of an hour, and in an index the events of a span of time, are spread.
pub(super) const SPREAD: u8 = 16;

/// What spreads events over the partitions of an index, 0 to 15. Events of one stream follow one another through all
/// of them, so that one busy stream makes no partition busy.
fn spread_event(stream: StreamId, seq: u64) -> u8 {
    (spread(stream) + (seq % u64::from(SPREAD)) as u8) % SPREAD
}

/// `yyyymmddhhmm` of a time in microseconds since 1970; its first ten digits are the hour.
pub(super) fn minute_of(time_us: u64) -> String {
    let time = audit::stream::rfc3339(time_us);
    time.chars().filter(char::is_ascii_digit).take(12).collect()
}

/// How many digits of [`minute_of`] tell the hour.
pub(super) const HOUR: usize = 10;
/// Microseconds of an hour.
const HOUR_US: u64 = 3_600_000_000;
/// 9999-12-31T23.
const LAST_HOUR: u64 = 70_389_527;

/// `yyyymmddhh` of an hour counted since 1970; `None` beyond the year 9999.
pub(super) fn hour_name(hour: u64) -> Option<String> {
    (hour <= LAST_HOUR).then(|| minute_of(hour * HOUR_US)[..HOUR].to_owned())
}

/// The hour that [`hour_name`] wrote.
pub(super) fn hour_number(name: &str) -> Option<u64> {
    let digits = name.len() == HOUR && name.bytes().all(|byte| byte.is_ascii_digit());
    let part = |range: std::ops::Range<usize>| digits.then(|| &name[range]);
    let (year, month, day, hour) = (part(0..4)?, part(4..6)?, part(6..8)?, part(8..10)?);
    let time_us = lookup::parse_time(&format!("{year}-{month}-{day}T{hour}:00:00Z"))?;
    Some(time_us / HOUR_US)
}

/// Sort key of an event in every index.
pub(super) fn order_key(position: EventPosition) -> String {
    let EventPosition {
        time_us,
        stream,
        seq,
    } = position;
    format!("{}#{stream}#{}", time_key(time_us), seq_key(seq))
}

/// What the sort keys of events of this time begin with.
pub(super) fn time_key(time_us: u64) -> String {
    format!("{time_us:020}")
}

/// The position that [`order_key`] wrote.
pub(super) fn position_of(order: &str) -> Option<EventPosition> {
    let mut parts = order.split('#');
    let position = EventPosition {
        time_us: parts.next()?.parse().ok()?,
        stream: StreamId::parse(parts.next()?)?,
        seq: parts.next()?.parse().ok()?,
    };
    (order_key(position) == order).then_some(position)
}

/// Where an event stands in the indexes: their partition keys, and the sort key that is the same in all.
pub(super) struct IndexKeys {
    pub(super) order: String,
    pub(super) time: String,
    pub(super) symbol: Option<String>,
    pub(super) model: Option<String>,
    pub(super) request: Option<String>,
}

impl IndexKeys {
    pub(super) fn of(stream: StreamId, seq: u64, keys: &EventKeys) -> Self {
        let (k, minute) = (spread_event(stream, seq), minute_of(keys.time_us));
        let hour = &minute[..HOUR];
        let symbol = match keys.symbols.as_slice() {
            [] => None,
            [one] => Some(one.as_str()),
            _ => Some(SEVERAL),
        };
        let model = keys.model.as_ref();
        Self {
            order: order_key(EventPosition {
                time_us: keys.time_us,
                stream,
                seq,
            }),
            time: format!("T#{minute}#{k}"),
            symbol: symbol.map(|symbol| format!("Y#{symbol}#{hour}#{k}")),
            model: model.map(|(name, version)| format!("M#{name}@{version}#{hour}#{k}")),
            request: keys.request.as_ref().map(|request| format!("R#{request}")),
        }
    }
}

/// The row of an event. The same record gives the same row.
pub(super) fn event_row(record: &Record) -> Result<Item, StoreError> {
    let Record {
        stream,
        seq,
        entry,
        signature,
    } = record;
    let refuse =
        |reason: String| StoreError::Conflict(format!("event {seq} of stream {stream} {reason}"));
    let keys = EventKeys::of(entry).map_err(|error| refuse(error.to_string()))?;
    let stands = IndexKeys::of(*stream, *seq, &keys);

    let mut row = row(stream_key(*stream), seq_key(*seq));
    let mut put = |name: &str, value| row.insert(name.to_owned(), value);
    put("entry", bytes(entry.clone()));
    put("sig", bytes(*signature));
    put("kind", text(&keys.kind));
    put("ttl", number(keys.time_us / 1_000_000 + EVENTS_KEPT_S));
    for (pk, sk, key) in [
        ("t_pk", "t_sk", Some(stands.time)),
        ("y_pk", "y_sk", stands.symbol),
        ("m_pk", "m_sk", stands.model),
        ("r_pk", "r_sk", stands.request),
    ] {
        if let Some(key) = key {
            put(pk, text(key));
            put(sk, text(&stands.order));
        }
    }
    Ok(row)
}

/// Whether both rows hold the same event.
pub(super) fn is_same_event(a: &Item, b: &Item) -> bool {
    ["entry", "sig"]
        .iter()
        .all(|name| a.get(*name).is_some() && a.get(*name) == b.get(*name))
}

/// The event of a row that was read from this stream.
pub(super) fn record_of(stream: StreamId, row: &Item) -> Result<Record, StoreError> {
    let seq = text_of(row, "sk")?;
    let number = seq.parse().ok().filter(|number| seq_key(*number) == seq);
    let number = number.ok_or_else(|| {
        StoreError::Corrupt(format!("stream {stream} has an event in row {seq:?}"))
    })?;
    Ok(Record {
        stream,
        seq: number,
        entry: bytes_of(row, "entry")?.to_vec(),
        signature: array_of(row, "sig")?,
    })
}

/// The rows of a registration.
pub(super) struct RegistrationRows {
    pub(super) stream: StreamId,
    pub(super) registration: Item,
    /// That the stream was registered in its hour.
    pub(super) listing: Item,
    /// That there is a listing for that hour.
    pub(super) directory: Item,
}

impl RegistrationRows {
    pub(super) fn of(signed: &SignedRegistration) -> Result<Self, StoreError> {
        let parsed = parse_registration(signed)?;
        let stream = parsed.stream;
        let time_us = lookup::parse_time(&parsed.time).ok_or_else(|| {
            StoreError::Conflict(format!(
                "the registration of stream {stream} has the time {:?}: expected RFC 3339 in UTC",
                parsed.time
            ))
        })?;
        let hour = &minute_of(time_us)[..HOUR];
        let partition = format!("{hour}#{}", spread(stream));
        let mut registration = row(stream_key(stream), REGISTRATION);
        registration.extend([
            (
                "registration".to_owned(),
                bytes(signed.registration.clone()),
            ),
            ("key_id".to_owned(), text(&signed.key_id)),
            ("sig".to_owned(), bytes(signed.signature)),
        ]);
        Ok(Self {
            stream,
            registration,
            listing: row(format!("G#{partition}"), stream.to_string()),
            directory: row(DIRECTORY, partition),
        })
    }
}

/// The registration in its row.
pub(super) fn registration_of(row: &Item) -> Result<SignedRegistration, StoreError> {
    Ok(SignedRegistration {
        registration: bytes_of(row, "registration")?.to_vec(),
        key_id: text_of(row, "key_id")?.to_owned(),
        signature: array_of(row, "sig")?,
    })
}

#[cfg(test)]
mod tests {
    use audit::EventBody;
    use audit::event::{Outcome, Refusal};
    use testkit::build::TestStream;
    use testkit::{FixedClock, build};

    use super::*;

    const STREAM: [u8; 16] = [0xa1; 16];

    fn row_of(body: EventBody) -> Item {
        let mut test = TestStream::of(STREAM, "host");
        let now_us = FixedClock::default().0 + 123_456;
        event_row(&test.stream.record(body, now_us).unwrap()).unwrap()
    }

    fn value<'a>(row: &'a Item, name: &str) -> Option<&'a str> {
        row.get(name).map(|value| value.as_s().unwrap().as_str())
    }

    fn prediction(symbols: &[&str]) -> EventBody {
        build::prediction("id#1", symbols)
    }

    #[test]
    fn a_prediction_stands_in_every_index() {
        let row = row_of(prediction(&["SPX"]));
        let order = format!(
            "00001767225600123456#{}#00000000000000000000",
            StreamId(STREAM)
        );
        for (name, expected) in [
            ("pk", format!("S#{}", StreamId(STREAM))),
            ("sk", "00000000000000000000".to_owned()),
            ("kind", "prediction".to_owned()),
            ("t_pk", "T#202601010000#10".to_owned()),
            ("y_pk", "Y#SPX#2026010100#10".to_owned()),
            ("m_pk", "M#spx-direction@1.0.0#2026010100#10".to_owned()),
            ("r_pk", "R#id#1".to_owned()),
            ("t_sk", order.clone()),
            ("y_sk", order.clone()),
            ("m_sk", order.clone()),
            ("r_sk", order),
        ] {
            assert_eq!(value(&row, name), Some(expected.as_str()), "{name}");
        }
        let ninety_days_later = 1_767_225_600 + 90 * 86_400;
        assert_eq!(row["ttl"].as_n().unwrap(), &ninety_days_later.to_string());
    }

    #[test]
    fn events_of_one_stream_go_through_every_partition_of_an_index() {
        let mut test = TestStream::of(STREAM, "host");
        let records = test.records(usize::from(SPREAD));
        let partitions: Vec<_> = records
            .iter()
            .map(|record| {
                value(&event_row(record).unwrap(), "t_pk")
                    .unwrap()
                    .to_owned()
            })
            .collect();
        for (seq, partition) in partitions.iter().enumerate() {
            assert!(
                partition.ends_with(&format!("#{}", (10 + seq) % 16)),
                "{seq}: {partition}"
            );
        }
    }

    #[test]
    fn an_event_about_several_symbols_stands_under_their_sign() {
        for (symbols, expected) in [
            (&["SPX", "SPX"][..], Some("Y#SPX#2026010100#10")),
            (&["SPX", "NDX"], Some("Y#*#2026010100#10")),
            (&[], None),
        ] {
            assert_eq!(value(&row_of(prediction(symbols)), "y_pk"), expected);
        }
    }

    #[test]
    fn an_event_stands_only_in_the_indexes_that_it_has_something_for() {
        let row = row_of(build::event("x"));
        assert_eq!(value(&row, "kind"), Some("security"));
        for absent in ["y_pk", "y_sk", "m_pk", "m_sk", "r_pk", "r_sk"] {
            assert!(!row.contains_key(absent), "{absent}");
        }
    }

    fn refusal(requested: &str, symbol: &str) -> EventBody {
        EventBody::Refusal(Refusal {
            code: "model.unknown".to_owned(),
            error: "no such model".to_owned(),
            failures: vec![],
            field: None,
            principal: None,
            request_id: "id-1".to_owned(),
            requested: Some(requested.to_owned()),
            route: "POST /v1/predict".to_owned(),
            status: 404,
            symbol: Some(symbol.to_owned()),
        })
    }

    #[test]
    fn what_a_refused_caller_wrote_reaches_no_key_unless_it_is_a_name() {
        let row = row_of(refusal("spx-direction@1.0.0", "SPX"));
        let model = value(&row, "m_pk");
        assert_eq!(model, Some("M#spx-direction@1.0.0#2026010100#10"));
        assert_eq!(value(&row, "y_pk"), Some("Y#SPX#2026010100#10"));
        let row = row_of(refusal("a#b@1.0.0#2026", "S#X"));
        assert!(!row.contains_key("m_pk") && !row.contains_key("y_pk"));
        assert_eq!(value(&row, "r_pk"), Some("R#id-1"));
    }

    #[test]
    fn an_outcome_stands_under_the_request_that_it_is_about() {
        let outcome = |of_request: Option<&str>| {
            row_of(EventBody::Outcome(Outcome {
                observed_at: None,
                of_receipt: None,
                of_request: of_request.map(str::to_owned),
                outcome: "up".into(),
                pnl: None,
                principal: "anna".to_owned(),
                request_id: "report".to_owned(),
            }))
        };
        assert_eq!(value(&outcome(Some("id-1")), "r_pk"), Some("R#id-1"));
        assert_eq!(value(&outcome(None), "r_pk"), Some("R#report"));
    }

    #[test]
    fn a_record_reads_back_from_its_row() {
        let mut test = TestStream::of(STREAM, "host");
        let records = test.records(2);
        let rows: Vec<Item> = records.iter().map(|r| event_row(r).unwrap()).collect();
        let stream = StreamId(STREAM);
        assert_eq!(record_of(stream, &rows[1]).as_ref(), Ok(&records[1]));
        assert!(is_same_event(&rows[0], &rows[0].clone()));
        assert!(!is_same_event(&rows[0], &rows[1]));
        assert!(!is_same_event(&row("a", "b"), &row("a", "b")));
        let mut wrong = rows[0].clone();
        wrong.insert("sk".to_owned(), text("7"));
        assert!(matches!(
            record_of(stream, &wrong),
            Err(StoreError::Corrupt(_))
        ));
    }

    #[test]
    fn an_hour_has_one_name() {
        for (hour, name) in [
            (0, "1970010100"),
            (490_896, "2026010100"),
            (490_919, "2026010123"),
        ] {
            assert_eq!(hour_name(hour).as_deref(), Some(name));
            assert_eq!(hour_number(name), Some(hour));
        }
        for bad in [
            "",
            "2026010124",
            "2026013200",
            "202601010",
            "20260101000",
            "+026010100",
        ] {
            assert_eq!(hour_number(bad), None, "{bad}");
        }
        assert_eq!(hour_name(LAST_HOUR).as_deref(), Some("9999123123"));
        for beyond in [LAST_HOUR + 1, u64::MAX] {
            assert_eq!(hour_name(beyond), None, "{beyond}");
        }
    }

    #[test]
    fn a_registration_is_listed_under_its_hour() {
        let signed = TestStream::of(STREAM, "host").registration;
        let rows = RegistrationRows::of(&signed).unwrap();
        assert_eq!(registration_of(&rows.registration), Ok(signed));
        let stream = StreamId(STREAM).to_string();
        assert_eq!(value(&rows.listing, "pk"), Some("G#2026010100#10"));
        assert_eq!(value(&rows.listing, "sk"), Some(stream.as_str()));
        assert_eq!(value(&rows.directory, "pk"), Some("G#"));
        assert_eq!(value(&rows.directory, "sk"), Some("2026010100#10"));
        assert!(!rows.registration.contains_key("ttl"));
    }
}
