//! How long an answer becomes on its way to the gateway.

use lambda_http::Body;

/// Longest response of a synchronous invocation, in bytes: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_RESPONSE: usize = 6_291_556;

/// What a response holds besides its body: status, headers, names of fields.
const FRAME: usize = 8 * 1024;

/// Whether the body, as JSON text or as base64 in it, is one that Lambda hands on.
pub(crate) fn fits(body: &Body) -> bool {
    let length = match body {
        Body::Text(text) => text.bytes().map(json_len).sum(),
        Body::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        _ => 0,
    };
    length + FRAME <= MAX_RESPONSE
}

/// How many bytes a byte of UTF-8 takes in a JSON string.
fn json_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reckoned_length_is_the_one_that_json_has() {
        let every: String = (0_u8..128)
            .map(char::from)
            .chain(['\u{e9}', '\u{20ac}'])
            .collect();
        let reckoned: usize = every.bytes().map(json_len).sum();
        assert_eq!(reckoned + 2, serde_json::to_string(&every).unwrap().len());
    }

    #[test]
    fn an_answer_that_only_fits_before_it_is_escaped_or_encoded_does_not_fit() {
        let most = MAX_RESPONSE - FRAME;
        assert!(fits(&Body::Text("a".repeat(most))));
        assert!(!fits(&Body::Text("a".repeat(most + 1))));
        assert!(!fits(&Body::Text("\"".repeat(most / 2 + 1))));
        assert!(fits(&Body::Binary(vec![0; most / 4 * 3])));
        assert!(!fits(&Body::Binary(vec![0; most / 4 * 3 + 3])));
    }
}
