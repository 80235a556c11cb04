//! A question for events, read from a request: strictly, so that nobody believes an answer to another one.

mod format;
mod range;

use std::collections::BTreeMap;

use audit::EventBody;
use audit::stream::rfc3339;
use domain::{
    EventKeys, EventPosition, EventQuery, Lookup, ModelName, ModelVersion, RequestId, Symbol,
};
use http::HeaderMap;
use web::ApiError;

pub use self::format::Format;
use crate::cursor::{self, Cursor};
use crate::function::Limits;
use crate::parameters::Parameters;

/// The parameters of a question.
const PARAMETERS: [&str; 9] = [
    "from",
    "until",
    "symbol",
    "model",
    "request_id",
    "kind",
    "limit",
    "cursor",
    "format",
];

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// They are about this symbol, alone or among others.
    pub symbol: Option<Symbol>,
    /// They are about this version of a model.
    pub model: Option<(ModelName, ModelVersion)>,
    /// They are about this request.
    pub request: Option<RequestId>,
    /// Their kind.
    pub kind: Option<String>,
}

/// A question for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which events.
    pub filters: Filters,
    /// Earliest time, in microseconds since 1970.
    pub from_us: u64,
    /// They are before this time, in microseconds since 1970.
    pub until_us: u64,
    /// They come after this one.
    pub after: Option<EventPosition>,
    /// Most of them at once.
    pub limit: usize,
    /// How they are written.
    pub format: Format,
    /// Earliest time that events are still found of, where the question begins before it, in microseconds since 1970.
    pub expired_before_us: Option<u64>,
    /// What its cursors are bound to.
    pub bound_to: [u8; 8],
}

impl Filters {
    fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        Ok(Self {
            symbol: parameters.get("symbol").map(read_symbol).transpose()?,
            model: parameters.get("model").map(read_model).transpose()?,
            request: parameters.get("request_id").map(read_request).transpose()?,
            kind: parameters.get("kind").map(read_kind).transpose()?,
        })
    }

    /// What the index is asked for: what leaves fewest events.
    pub(crate) fn lookup(&self) -> Lookup {
        if let Some(request) = &self.request {
            Lookup::Request(request.clone())
        } else if let Some((name, version)) = &self.model {
            Lookup::Model(name.clone(), version.clone())
        } else if let Some(symbol) = &self.symbol {
            Lookup::Symbol(symbol.clone())
        } else {
            Lookup::Everything
        }
    }

    /// Whether the index alone cannot tell which events are asked for.
    pub(crate) fn are_several(&self) -> bool {
        let given = [
            self.symbol.is_some(),
            self.model.is_some(),
            self.request.is_some(),
        ];
        given.iter().filter(|given| **given).count() > 1
    }

    /// Whether an event with these keys is asked for.
    pub(crate) fn match_keys(&self, keys: &EventKeys) -> bool {
        let symbol = self.symbol.as_ref();
        symbol.is_none_or(|symbol| keys.symbols.contains(symbol))
            && (self.model.is_none() || keys.model == self.model)
            && (self.request.is_none() || keys.request == self.request)
            && self.kind.as_ref().is_none_or(|kind| *kind == keys.kind)
    }

    /// The filters by the names of their parameters.
    fn as_map(&self) -> BTreeMap<String, String> {
        let model = self.model.as_ref();
        let filters = [
            ("kind", self.kind.clone()),
            (
                "model",
                model.map(|(name, version)| format!("{name}@{version}")),
            ),
            ("request_id", self.request.as_ref().map(ToString::to_string)),
            ("symbol", self.symbol.as_ref().map(ToString::to_string)),
        ];
        let given = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?));
        filters.into_iter().filter_map(given).collect()
    }

    /// What a cursor is bound to: these filters, and the log with this name.
    fn digest(&self, origin: &str) -> [u8; 8] {
        let mut lines = String::new();
        let origin = ("log".to_owned(), origin.to_owned());
        for (name, value) in self.as_map().into_iter().chain([origin]) {
            // No value has a line feed in it.
            lines.extend([&name, "=", &value, "\n"]);
        }
        cursor::digest_of(&lines)
    }
}

impl Question {
    /// Reads a question that is asked of the log `origin` at `now_us`.
    ///
    /// # Errors
    /// 400 with the parameter at fault, or 406 `query.not_acceptable`.
    pub fn read(
        query: Option<&str>,
        headers: &HeaderMap,
        limits: &Limits,
        origin: &str,
        now_us: u64,
    ) -> Result<Self, ApiError> {
        let parameters = Parameters::read(query, &PARAMETERS)?;
        let filters = Filters::read(&parameters)?;
        let format = Format::read(parameters.get("format"), headers)?;
        let limit = read_limit(parameters.get("limit"), format, limits)?;
        let cursor = parameters.get("cursor").map(read_cursor).transpose()?;
        let times = (parameters.get("from"), parameters.get("until"));
        let (from_us, until_us) = match &cursor {
            None => range::read(times, now_us)?,
            Some(cursor) => range::read_again(times, (cursor.from_us, cursor.until_us))?,
        };
        let bound_to = filters.digest(origin);
        if cursor.is_some_and(|cursor| cursor.filters != bound_to) {
            let message = "the cursor goes on with another question: expected the same symbol, model, request_id and \
                           kind as in the request that gave it, and the same log";
            return Err(ApiError::bad_field(
                "query.cursor_mismatch",
                "cursor",
                message,
            ));
        }
        range::check(&filters, (from_us, until_us), limits)?;
        let expired_before_us = range::check_kept((from_us, until_us), limits, now_us)?;
        Ok(Self {
            filters,
            from_us,
            until_us,
            after: cursor.map(|cursor| cursor.after),
            limit,
            format,
            expired_before_us,
            bound_to,
        })
    }

    /// What the index is asked for.
    pub(crate) fn to_event_query(&self) -> EventQuery {
        EventQuery {
            lookup: self.filters.lookup(),
            kind: self.filters.kind.clone(),
            from_us: self.from_us,
            until_us: self.until_us,
            after: self.after,
            limit: self.limit,
        }
    }

    /// Where the question goes on after this event.
    pub fn cursor(&self, after: EventPosition) -> Cursor {
        Cursor {
            from_us: self.from_us,
            until_us: self.until_us,
            after,
            filters: self.bound_to,
        }
    }

    /// The question as it is recorded: every parameter with its value, defaults included.
    pub(crate) fn to_record(&self) -> BTreeMap<String, String> {
        let mut record = self.filters.as_map();
        let mut put = |name: &str, value: String| record.insert(name.to_owned(), value);
        put("from", rfc3339(self.from_us));
        put("until", rfc3339(self.until_us));
        put("limit", self.limit.to_string());
        put("format", self.format.name().to_owned());
        if let Some(after) = self.after {
            let (stream, seq) = (after.stream, after.seq);
            put(
                "after",
                format!("{} {stream}:{seq}", rfc3339(after.time_us)),
            );
        }
        record
    }
}

fn read_symbol(text: &str) -> Result<Symbol, ApiError> {
    Symbol::parse(text)
        .map_err(|error| ApiError::bad_field("query.symbol_invalid", "symbol", error.to_string()))
}

fn read_model(text: &str) -> Result<(ModelName, ModelVersion), ApiError> {
    let parts = text.split_once('@').and_then(|(name, version)| {
        Some((
            ModelName::parse(name).ok()?,
            ModelVersion::parse(version).ok()?,
        ))
    });
    parts.ok_or_else(|| {
        let message = "expected name@version, for example spx-direction@1.0.0";
        ApiError::bad_field("query.model_invalid", "model", message)
    })
}

fn read_request(text: &str) -> Result<RequestId, ApiError> {
    RequestId::parse(text).map_err(|error| {
        ApiError::bad_field("query.request_id_invalid", "request_id", error.to_string())
    })
}

fn read_kind(text: &str) -> Result<String, ApiError> {
    if EventBody::KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let message = format!("expected one of {}", EventBody::KINDS.join(", "));
    Err(ApiError::bad_field("query.kind_unknown", "kind", message))
}

fn read_limit(text: Option<&str>, format: Format, limits: &Limits) -> Result<usize, ApiError> {
    let most = limits.most_events(format);
    let Some(text) = text else {
        return Ok(limits.default_events.min(most));
    };
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| {
        let message = format!(
            "expected 1 to {}, or with format ndjson or csv 1 to {}",
            limits.json_events, limits.line_events
        );
        ApiError::bad_field("query.limit_out_of_range", "limit", message)
    })
}

fn read_cursor(text: &str) -> Result<Cursor, ApiError> {
    Cursor::parse(text).map_err(|_| {
        let message = "expected a cursor as `next` or the header Sealcast-Next gives it, unchanged";
        ApiError::bad_field("query.cursor_invalid", "cursor", message)
    })
}
