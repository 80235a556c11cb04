//! How events are written.

use http::{HeaderMap, StatusCode, header};
use web::ApiError;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object with all of them.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A line each, RFC 4180.
    Csv,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// The name in `format=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// The media type of an answer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What `format=` says, else what `Accept` prefers.
    pub(super) fn read(parameter: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(name) = parameter else {
            return Self::accepted(headers);
        };
        let named = Self::ALL.into_iter().find(|format| format.name() == name);
        named.ok_or_else(|| {
            let message = "expected json, ndjson or csv";
            ApiError::bad_field("query.format_unknown", "format", message)
        })
    }

    /// The format with the highest weight in `Accept`, of several the first of [`ALL`](Self::ALL); JSON without one.
    fn accepted(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Ok(Self::Json);
        }
        let ranges: Vec<(String, f32)> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(range_of)
            .collect();
        let mut best: Option<(Self, f32)> = None;
        for format in Self::ALL {
            let weight = format.weight_in(&ranges);
            if weight > best.map_or(0.0, |(_, weight)| weight) {
                best = Some((format, weight));
            }
        }
        best.map(|(format, _)| format).ok_or_else(|| {
            let message = "expected Accept application/json, application/x-ndjson or text/csv";
            ApiError::new(StatusCode::NOT_ACCEPTABLE, "query.not_acceptable", message).at("Accept")
        })
    }

    /// Its weight by the most specific range that it falls into (RFC 9110, 12.5.1).
    fn weight_in(self, ranges: &[(String, f32)]) -> f32 {
        let media_type = self.media_type().split(';').next().unwrap_or_default();
        let (major, _) = media_type.split_once('/').unwrap_or_default();
        let other = if self == Self::Ndjson {
            "application/ndjson"
        } else {
            media_type
        };
        let by = |wanted: &[&str]| {
            let matching = ranges.iter().find(|(range, _)| wanted.contains(&&**range));
            matching.map(|(_, weight)| *weight)
        };
        by(&[media_type, other])
            .or_else(|| by(&[&format!("{major}/*")]))
            .or_else(|| by(&["*/*"]))
            .unwrap_or(0.0)
    }
}

/// A media range in lower case without its parameters, and its weight.
fn range_of(item: &str) -> (String, f32) {
    let mut parts = item.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
    (range, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Option<Format> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Format::read(None, &headers).ok()
    }

    #[test]
    fn the_header_says_the_format_where_the_parameter_does_not() {
        for (accept, format) in [
            ("*/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/ndjson", Some(Format::Ndjson)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV;header=present", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("application/*", Some(Format::Json)),
            ("text/csv;q=0.5, application/json;q=0.4", Some(Format::Csv)),
            ("text/csv;q=0.5, */*;q=0.9", Some(Format::Json)),
            ("application/json;q=0, */*;q=0.1", Some(Format::Ndjson)),
            ("text/html, application/xhtml+xml", None),
            ("application/json;q=0", None),
            ("application/json;q=much", None),
            ("", None),
        ] {
            assert_eq!(accepted(accept), format, "{accept:?}");
        }
        let headers = HeaderMap::from_iter([(header::ACCEPT, "text/csv".parse().unwrap())]);
        assert_eq!(Format::read(Some("ndjson"), &headers), Ok(Format::Ndjson));
        assert_eq!(Format::read(None, &HeaderMap::new()), Ok(Format::Json));
    }
}
