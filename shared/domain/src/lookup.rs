//! What recorded events are found by.

use audit::{Receipt, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::RequestId;
use crate::{ModelName, ModelVersion, Symbol};

/// Where an event stands among all events: by its time, and where two have the same, by stream and position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventPosition {
    /// Microseconds since 1970, as the event says.
    pub time_us: u64,
    /// The stream.
    pub stream: StreamId,
    /// Position in the stream.
    pub seq: u64,
}

/// What the events that are looked for have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing: all events.
    Everything,
    /// They are about this symbol, alone or among others.
    Symbol(Symbol),
    /// They are about this version of a model.
    Model(ModelName, ModelVersion),
    /// They are about the requests with this id.
    Request(RequestId),
}

/// Which events are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// What they have in common.
    pub lookup: Lookup,
    /// Their kind, where it matters.
    pub kind: Option<String>,
    /// Earliest time, in microseconds since 1970.
    pub from_us: u64,
    /// They are before this time, in microseconds since 1970.
    pub until_us: u64,
    /// They come after this one.
    pub after: Option<EventPosition>,
    /// Most of them at once; at least 1.
    pub limit: usize,
}

/// Some of the events that were looked for, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Where they stand.
    pub events: Vec<EventPosition>,
    /// After which position to go on; `None` where there are no more. A page may be short, or empty, and have it.
    pub next: Option<EventPosition>,
}

/// What an event can be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventKeys {
    /// Microseconds since 1970.
    pub time_us: u64,
    /// What happened.
    pub kind: String,
    /// The version of a model that the event is about.
    pub model: Option<(ModelName, ModelVersion)>,
    /// The symbols that it is about, each once, in the order of its rows.
    pub symbols: Vec<Symbol>,
    /// The request that it is about: of an outcome the one that was predicted for.
    pub request: Option<RequestId>,
}

/// An entry that is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventKeysError {
    /// It is not of the form.
    #[error("the entry cannot be read: {0}")]
    Unreadable(String),
    /// Its time is none.
    #[error("the entry has the time {0:?}: expected RFC 3339 in UTC")]
    Time(String),
}

#[derive(Deserialize)]
struct Head {
    time: String,
    kind: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    request_id: Option<String>,
    /// Of an outcome: the request whose prediction it is about.
    of_request: Option<String>,
    requested: Option<Requested>,
    /// Of a model access.
    model: Option<String>,
    symbol: Option<String>,
    #[serde(default)]
    symbols: Symbols,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Requested {
    Model {
        name: String,
        version: String,
    },
    /// As the caller of a refused request wrote it.
    AsWritten(String),
}

#[derive(Default, Deserialize)]
struct Symbols {
    values: Vec<Value>,
}

impl EventKeys {
    /// Reads them from an entry: an event in canonical JSON. What a caller wrote is a key only where it is a name.
    ///
    /// # Errors
    /// [`EventKeysError`] where the entry is no event.
    pub fn of(entry: &[u8]) -> Result<Self, EventKeysError> {
        let head: Head = serde_json::from_slice(entry)
            .map_err(|error| EventKeysError::Unreadable(error.to_string()))?;
        let time_us = parse_time(&head.time).ok_or(EventKeysError::Time(head.time))?;
        let data = head.data;
        let mut symbols = Vec::new();
        let of_rows = data.symbols.values.iter().filter_map(Value::as_str);
        for symbol in of_rows.chain(data.symbol.as_deref()) {
            if let Ok(symbol) = Symbol::parse(symbol)
                && !symbols.contains(&symbol)
            {
                symbols.push(symbol);
            }
        }
        let request = data.of_request.or(data.request_id);
        Ok(Self {
            time_us,
            kind: head.kind,
            model: model_of(data.requested, data.model),
            symbols,
            request: request.and_then(|id| RequestId::parse(&id).ok()),
        })
    }

    /// Whether a query without bounds in time finds the event.
    pub fn match_query(&self, query: &EventQuery) -> bool {
        let about = match &query.lookup {
            Lookup::Everything => true,
            Lookup::Symbol(symbol) => self.symbols.contains(symbol),
            Lookup::Model(name, version) => {
                let wanted = (name, version);
                self.model.as_ref().is_some_and(|(n, v)| (n, v) == wanted)
            }
            Lookup::Request(id) => self.request.as_ref() == Some(id),
        };
        about && query.kind.as_ref().is_none_or(|kind| *kind == self.kind)
    }
}

impl EventPosition {
    /// Where the event with this receipt and time stands.
    pub fn of(receipt: &Receipt, time_us: u64) -> Self {
        Self {
            time_us,
            stream: receipt.stream,
            seq: receipt.seq,
        }
    }
}

fn model_of(
    requested: Option<Requested>,
    model: Option<String>,
) -> Option<(ModelName, ModelVersion)> {
    let (name, version) = match requested {
        Some(Requested::Model { name, version }) => (name, version),
        Some(Requested::AsWritten(text)) => split(&text)?,
        None => split(&model?)?,
    };
    Some((
        ModelName::parse(&name).ok()?,
        ModelVersion::parse(&version).ok()?,
    ))
}

/// The parts of `name@version`.
fn split(text: &str) -> Option<(String, String)> {
    let (name, version) = text.split_once('@')?;
    Some((name.to_owned(), version.to_owned()))
}

/// RFC 3339 in UTC as streams write it, in microseconds since 1970.
pub fn parse_time(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}
