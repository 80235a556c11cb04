//! Events as an HTTP API sends them, payload format 2.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One request through the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(Value);

impl Event {
    /// A request without a body that nobody vouches for.
    pub fn new(method: &str, path: &str) -> Self {
        Self(json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {
                "accept": "*/*",
                "content-type": "application/json",
                "host": "api.example.com",
                "x-forwarded-for": "192.0.2.1",
                "x-forwarded-port": "443",
                "x-forwarded-proto": "https",
            },
            "requestContext": {
                "accountId": "111122223333",
                "apiId": "a1b2c3d4e5",
                "domainName": "api.example.com",
                "domainPrefix": "api",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "$default",
                "stage": "$default",
                "time": "22/Nov/2026:16:00:00 +0000",
                "timeEpoch": 1_795_363_200_000_u64,
            },
            "isBase64Encoded": false,
        }))
    }

    /// The IAM authorizer let this principal in.
    #[must_use]
    pub fn iam(mut self, arn: &str) -> Self {
        let iam = json!({
            "accessKey": "AKIAIOSFODNN7EXAMPLE", "accountId": "111122223333", "callerId": "AROAEXAMPLE:s",
            "cognitoIdentity": null, "principalOrgId": null, "userArn": arn, "userId": "AROAEXAMPLE:s",
        });
        self.0["requestContext"]["authorizer"] = json!({"iam": iam});
        self
    }

    /// The JWT authorizer let this subject in, whose token holds the roles.
    #[must_use]
    pub fn jwt(mut self, subject: &str, roles: &str) -> Self {
        let claims = json!({"sub": subject, "iss": "https://issuer.example", "exp": "1795363200", "roles": roles});
        self.0["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
        self
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0["headers"][name] = json!(value);
        self
    }

    /// With this text as its body.
    #[must_use]
    pub fn text(mut self, body: &str) -> Self {
        self.0["body"] = json!(body);
        self
    }

    /// With these bytes as its body, which the gateway encodes.
    #[must_use]
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.0["body"] = json!(STANDARD.encode(body));
        self.0["isBase64Encoded"] = json!(true);
        self
    }

    /// The event as JSON text.
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }
}
