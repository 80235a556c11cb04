//! Many requests at once in one process: nothing of one is in another's answer or record.

use std::collections::HashMap;
use std::time::Duration;

use audit::EventBody;
use audit::event::Prediction;
use lambda_tests::{Answer, Event, Example, RuntimeApi};
use serde_json::{Value, json};

use crate::support::{data, events, start};

const REQUESTS: u32 = 10_000;

/// A request, everything of which follows from its number; the expected values are computed here, by other means
/// than the model's.
struct Asked {
    number: u32,
}

impl Asked {
    fn model(&self) -> &'static str {
        if self.number.is_multiple_of(3) {
            "thousandth"
        } else {
            "same"
        }
    }

    fn is_protocol(&self) -> bool {
        self.number % 4 == 1
    }

    fn symbol(&self) -> String {
        format!("SYM{}", self.number % 977)
    }

    /// A number that nobody else sends.
    fn x(&self) -> f32 {
        self.number as f32 + 0.25
    }

    fn expected(&self) -> f32 {
        if self.model() == "same" {
            self.x()
        } else {
            self.x() * 0.001
        }
    }

    fn principal(&self) -> String {
        let desk = self.number % 131;
        if self.is_jwt() {
            format!("user-{desk}")
        } else {
            format!("arn:aws:sts::111122223333:assumed-role/desk/s{desk}")
        }
    }

    fn is_jwt(&self) -> bool {
        self.number % 5 == 2
    }

    /// The id that it gives, in the header or in the body; a half give none.
    fn id(&self) -> Option<String> {
        self.number
            .is_multiple_of(2)
            .then(|| format!("order-{}", self.number))
    }

    fn event(&self) -> String {
        let (model, x) = (self.model(), self.x());
        let is_in_header = self.number % 4 == 2;
        let (path, mut body) = if self.is_protocol() {
            let body = json!({
                "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [x]}],
                "parameters": {"symbol": self.symbol()},
            });
            (format!("/v2/models/{model}/infer"), body)
        } else {
            let body = json!({"model": model, "symbol": self.symbol(), "features": {"x": x}});
            ("/v1/predict".to_owned(), body)
        };
        let member = if self.is_protocol() {
            "id"
        } else {
            "request_id"
        };
        if let Some(id) = self.id().filter(|_| !is_in_header) {
            body[member] = json!(id);
        }
        let prefix = if self.is_jwt() { "/jwt" } else { "" };
        let mut event = Event::new("POST", &format!("{prefix}{path}"));
        event = if self.is_jwt() {
            event.jwt(&self.principal(), "[other predictor]")
        } else {
            event.iam(&self.principal())
        };
        if let Some(id) = self.id().filter(|_| is_in_header) {
            event = event.header("x-request-id", &id);
        }
        // Some as the gateway sends bodies that it does not take for text.
        let body = body.to_string();
        let event = if self.number.is_multiple_of(7) {
            event.bytes(body.as_bytes())
        } else {
            event.text(&body)
        };
        event.to_json()
    }

    /// Holds the answer against the request; gives its receipt: stream and position.
    fn check_answer(&self, answer: &Answer) -> (String, u64) {
        let answer = answer.json();
        assert_eq!(answer["statusCode"], 200, "{}: {answer}", self.number);
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let (value, id, by) = if self.is_protocol() {
            (
                &body["outputs"][0]["data"][0],
                &body["id"],
                &body["parameters"]["answered_by"],
            )
        } else {
            assert_eq!(body["symbol"], self.symbol());
            (&body["value"], &body["request_id"], &body["answered_by"])
        };
        assert_eq!(bits(value), self.expected().to_bits(), "{}", self.number);
        assert_eq!(*by, format!("{}@1.0.0", self.model()));
        let header = answer["headers"]["x-request-id"].as_str().unwrap();
        assert_eq!(id, header);
        if let Some(given) = self.id() {
            assert_eq!(header, given);
        }
        let receipt = answer["headers"]["sealcast-receipt"].as_str().unwrap();
        let mut parts = receipt.split(':');
        let stream = parts.next().unwrap().to_owned();
        (stream, parts.next().unwrap().parse().unwrap())
    }

    fn check_record(&self, recorded: &Prediction) {
        assert_eq!(recorded.principal, self.principal());
        assert_eq!(recorded.requested.name, self.model());
        assert_eq!(recorded.symbols.values, [json!(self.symbol())]);
        assert_eq!(recorded.inputs[0].data, [json!(self.x())]);
        let answered = bits(&recorded.answers.values[0]["value"]);
        assert_eq!(answered, self.expected().to_bits(), "{}", self.number);
        if let Some(id) = self.id() {
            assert_eq!(recorded.request_id, id);
        }
    }
}

/// The bits of an FP32 that stands in JSON.
fn bits(value: &Value) -> u32 {
    (value.as_f64().unwrap() as f32).to_bits()
}

#[tokio::test]
async fn ten_thousand_interleaved_requests_mix_nothing_up() {
    let models = ["same", "thousandth"].map(Example::of_one_number);
    let data = data(models.into()).await;
    let api = RuntimeApi::start().await.unwrap();
    let variables = [
        ("AWS_LAMBDA_MAX_CONCURRENCY", "8"),
        ("SEALCAST_LOG", "warn"),
    ];
    let mut function = start(&api, data.path(), &variables).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let api = api.clone();
        let request = Asked { number };
        asked.spawn(async move {
            let answer = api.invoke(request.event()).await;
            let receipt = request.check_answer(&answer);
            (receipt, request)
        });
    }
    let mut requests = HashMap::new();
    while let Some(one) = asked.join_next().await {
        let (receipt, request) = one.unwrap();
        assert!(
            requests.insert(receipt, request).is_none(),
            "a receipt was given twice"
        );
    }
    assert_eq!(api.most_under_way(), 8, "as many at once as there may be");
    function.terminate().unwrap();
    assert!(function.wait(Duration::from_secs(10)).unwrap().success());
    // Each record is one request's, and each request's record is there.
    let mut order = Vec::new();
    for event in events(data.path()).await {
        if let EventBody::Prediction(recorded) = event.body {
            let request = requests.remove(&(event.stream.to_string(), event.seq));
            let request = request.expect("the record of an answer that was given");
            request.check_record(&recorded);
            order.push(request.number);
        }
    }
    assert!(
        requests.is_empty(),
        "{} requests have no record",
        requests.len()
    );
    assert_eq!(order.len(), REQUESTS as usize);
    assert!(!order.is_sorted(), "they were interleaved");
}
