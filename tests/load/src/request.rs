//! The bytes of a request, built once; only the id in them changes from one request to the next.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyForm {
    /// Every request has an id of its own.
    pub(crate) own_ids: bool,
    /// Tensors are binary, in both directions.
    pub(crate) binary: bool,
}

/// Digits of the number in an id.
const DIGITS: usize = 16;

/// A whole HTTP/1.1 request.
#[derive(Debug, Clone)]
pub(crate) struct RequestTemplate {
    bytes: Vec<u8>,
    /// Where the number of the id stands.
    number: Option<Range<usize>>,
}

impl RequestTemplate {
    /// Builds the request from a JSON body.
    pub(crate) fn build(
        addr: SocketAddr,
        path: &str,
        token: Option<&str>,
        body: &[u8],
        form: BodyForm,
    ) -> anyhow::Result<Self> {
        let is_visible =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !path.starts_with('/') || !is_visible(path) {
            bail!("the path {path:?} must start with '/' and hold no spaces");
        }
        let mut body: Map<String, Value> =
            serde_json::from_slice(body).context("expected one JSON object")?;
        let id_field = if path.starts_with("/v2") {
            "id"
        } else {
            "request_id"
        };
        body.remove(id_field);
        let placeholder = own_id()?;
        if form.own_ids {
            body.insert(id_field.to_owned(), json!(placeholder));
        }
        let tensors = if form.binary {
            take_binary_tensors(&mut body)?
        } else {
            Vec::new()
        };
        let json = serde_json::to_vec(&body)?;

        let mut head = vec![format!("POST {path} HTTP/1.1"), format!("host: {addr}")];
        if let Some(token) = token {
            if !is_visible(token) {
                bail!("the token is empty or holds characters that no header may");
            }
            head.push(format!("authorization: Bearer {token}"));
        }
        if form.binary {
            head.push("content-type: application/octet-stream".to_owned());
            head.push(format!("inference-header-content-length: {}", json.len()));
        } else {
            head.push("content-type: application/json".to_owned());
        }
        head.push(format!("content-length: {}", json.len() + tensors.len()));
        let head = head.join("\r\n") + "\r\n\r\n";
        let bytes = [head.into_bytes(), json, tensors].concat();
        let number = form
            .own_ids
            .then(|| find_number(&bytes, &placeholder))
            .transpose()?;
        Ok(Self { bytes, number })
    }

    /// The request, with `number` in its id where it has one.
    pub(crate) fn write_number(&mut self, number: u64) -> &[u8] {
        if let Some(range) = self.number.clone() {
            self.bytes[range].copy_from_slice(format!("{number:0DIGITS$x}").as_bytes());
        }
        &self.bytes
    }
}

/// `load-`, 8 random hexadecimal digits for the run, `-`, the number.
fn own_id() -> anyhow::Result<String> {
    let mut run = [0; 4];
    getrandom::fill(&mut run)?;
    Ok(format!("load-{}-{:0DIGITS$x}", hex::encode(run), 0))
}

fn find_number(bytes: &[u8], id: &str) -> anyhow::Result<Range<usize>> {
    let start = bytes
        .windows(id.len())
        .position(|window| window == id.as_bytes());
    let end = start.context("the id does not stand in the request")? + id.len();
    Ok(end - DIGITS..end)
}

/// Takes `data` out of every input and gives its little-endian bytes, in the order of the inputs.
fn take_binary_tensors(body: &mut Map<String, Value>) -> anyhow::Result<Vec<u8>> {
    let inputs = body
        .get_mut("inputs")
        .and_then(Value::as_array_mut)
        .context("`inputs`: expected an array")?;
    let mut tensors = Vec::new();
    for input in inputs {
        let input = input
            .as_object_mut()
            .context("`inputs`: expected objects")?;
        let datatype = input
            .get("datatype")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let data = input
            .remove("data")
            .context("`inputs`: every input needs `data`")?;
        let before = tensors.len();
        append_elements(&mut tensors, &datatype, &data)?;
        let size = tensors.len() - before;
        let parameters = input.entry("parameters").or_insert_with(|| json!({}));
        parameters
            .as_object_mut()
            .context("`parameters`: expected an object")?
            .insert("binary_data_size".to_owned(), json!(size));
    }
    body.entry("parameters")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .context("`parameters`: expected an object")?
        .insert("binary_data_output".to_owned(), json!(true));
    Ok(tensors)
}

fn append_elements(tensors: &mut Vec<u8>, datatype: &str, data: &Value) -> anyhow::Result<()> {
    if let Value::Array(items) = data {
        return items
            .iter()
            .try_for_each(|item| append_elements(tensors, datatype, item));
    }
    let expected = || format!("`data`: {data} is no {datatype}");
    match datatype {
        "FP32" => tensors.extend((data.as_f64().with_context(expected)? as f32).to_le_bytes()),
        "FP64" => tensors.extend(data.as_f64().with_context(expected)?.to_le_bytes()),
        "INT32" => {
            let element: i32 = data
                .as_i64()
                .and_then(|i| i.try_into().ok())
                .with_context(expected)?;
            tensors.extend(element.to_le_bytes());
        }
        "INT64" => tensors.extend(data.as_i64().with_context(expected)?.to_le_bytes()),
        other => bail!(
            "`datatype`: {other:?} cannot be sent as binary; expected FP32, FP64, INT32 or INT64"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: BodyForm = BodyForm {
        own_ids: false,
        binary: false,
    };

    fn build(path: &str, body: &Value, form: BodyForm) -> anyhow::Result<RequestTemplate> {
        RequestTemplate::build(
            "127.0.0.1:80".parse()?,
            path,
            Some("secret"),
            body.to_string().as_bytes(),
            form,
        )
    }

    fn split(bytes: &[u8]) -> (String, Vec<u8>) {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        (
            String::from_utf8(bytes[..end].to_vec()).unwrap(),
            bytes[end..].to_vec(),
        )
    }

    #[test]
    fn the_id_of_the_file_is_dropped_so_that_no_answer_is_a_replay() {
        let body = json!({"symbol": "SPX", "request_id": "example-1"});
        let (head, sent) = split(build("/v1/predict", &body, JSON).unwrap().write_number(7));
        assert!(head.starts_with("POST /v1/predict HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer secret\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", sent.len())));
        assert_eq!(
            serde_json::from_slice::<Value>(&sent).unwrap(),
            json!({"symbol": "SPX"})
        );
    }

    #[test]
    fn own_ids_differ_and_keep_the_length() {
        for (path, field) in [("/v1/predict", "request_id"), ("/v2/models/m/infer", "id")] {
            let form = BodyForm {
                own_ids: true,
                ..JSON
            };
            let mut template = build(path, &json!({"symbol": "SPX"}), form).unwrap();
            let mut id = |number| {
                let (head, sent) = split(template.write_number(number));
                assert!(head.contains(&format!("content-length: {}\r\n", sent.len())));
                serde_json::from_slice::<Value>(&sent).unwrap()[field]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            let (first, last) = (id(1), id(u64::MAX));
            assert!(first.ends_with("0000000000000001"), "{first}");
            assert!(last.ends_with("ffffffffffffffff"), "{last}");
        }
    }

    #[test]
    fn binary_tensors_follow_the_json_in_order() {
        let body = json!({"inputs": [
            {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[1.5, -2.0]]},
            {"name": "b", "shape": [1], "datatype": "INT64", "data": [3]},
        ]});
        let form = BodyForm {
            own_ids: false,
            binary: true,
        };
        let (head, sent) = split(
            build("/v2/models/m/infer", &body, form)
                .unwrap()
                .write_number(0),
        );
        let length = sent.len() - 16;
        assert!(
            head.contains(&format!("inference-header-content-length: {length}\r\n")),
            "{head}"
        );
        let json: Value = serde_json::from_slice(&sent[..length]).unwrap();
        assert_eq!(json["inputs"][0]["parameters"]["binary_data_size"], 8);
        assert_eq!(json["inputs"][0].get("data"), None);
        assert_eq!(json["parameters"]["binary_data_output"], true);
        let tensors = [
            &1.5f32.to_le_bytes()[..],
            &(-2.0f32).to_le_bytes(),
            &3i64.to_le_bytes(),
        ]
        .concat();
        assert_eq!(sent[length..], tensors);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        let binary = BodyForm {
            own_ids: false,
            binary: true,
        };
        let text = json!({"inputs": [{"name": "a", "datatype": "BYTES", "data": ["x"]}]});
        assert!(
            build("/v2", &text, binary)
                .unwrap_err()
                .to_string()
                .contains("BYTES")
        );
        assert!(
            build("/v2", &json!({}), binary)
                .unwrap_err()
                .to_string()
                .contains("inputs")
        );
        assert!(
            build("v1", &json!({}), JSON)
                .unwrap_err()
                .to_string()
                .contains("must start with '/'")
        );
        assert!(
            build("/v1", &json!([]), JSON)
                .unwrap_err()
                .to_string()
                .contains("one JSON object")
        );
    }
}
