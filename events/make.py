#!/usr/bin/env python3
"""Writes the events of this folder: requests as an HTTP API (payload format 2.0) hands them to a function.

    events/make.py            writes events/<function>/<case>.json

Each file can be sent with `cargo lambda invoke FUNCTION --data-file FILE`. The test `events` of `tests/lambda` answers
each through the real host and holds the answer against a snapshot.
"""

import base64
import gzip
import json
import pathlib
import struct
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "spx-direction"

DESK = "arn:aws:sts::111122223333:assumed-role/desk/session-1"
VISITOR = "arn:aws:iam::111122223333:user/visitor"


def event(method, path, body=None, *, query="", binary=None, headers=None, authorizer=None):
    """One event; `body` is text, `binary` bytes that the gateway encodes, `query` what stands behind the `?`."""
    made = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "accept": "*/*",
            "host": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-69230a00-0123456789abcdef01234567",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **(headers or {}),
        },
        "requestContext": {
            "accountId": "111122223333",
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "22/Nov/2026:16:00:00 +0000",
            "timeEpoch": 1795363200000,
        },
        "isBase64Encoded": binary is not None,
    }
    if query:
        made["queryStringParameters"] = dict(urllib.parse.parse_qsl(query))
    if authorizer is not None:
        made["requestContext"]["authorizer"] = authorizer
    if body is not None:
        made["headers"].setdefault("content-type", "application/json")
        made["body"] = body
    if binary is not None:
        made["body"] = base64.b64encode(binary).decode()
    return made


def iam(arn):
    return {
        "iam": {
            "accessKey": "ASIAIOSFODNN7EXAMPLE",
            "accountId": "111122223333",
            "callerId": "AROAIOSFODNN7EXAMPLE:session-1",
            "cognitoIdentity": None,
            "principalOrgId": "aws:PrincipalOrgID",
            "userArn": arn,
            "userId": "AROAIOSFODNN7EXAMPLE:session-1",
        }
    }


def jwt(subject, scopes=None, **claims):
    every = {
        "aud": "sealcast",
        "exp": "1795366800",
        "iat": "1795363200",
        "iss": "https://issuer.example.com",
        "sub": subject,
        **claims,
    }
    return {"jwt": {"claims": every, "scopes": scopes}}


def features(row=0):
    names, *rows = (EXAMPLE / "features.csv").read_text().split()
    return dict(zip(names.split(",")[1:], map(float, rows[row].split(",")[1:]), strict=True))


def predict():
    v1 = json.dumps({"symbol": "SPX", "features": features()})
    named_twice = {"symbol": "SPX", "features": features(), "request_id": "example-1"}
    incomplete = {"symbol": "SPX", "features": {k: v for k, v in features().items() if k != "rsi_14"}}
    batch = {"rows": [{"symbol": "SPX", "features": features(row)} for row in range(3)]}
    long_batch = {"rows": [{"symbol": "SPX", "features": features(row % 20)} for row in range(60)]}
    outcome = {"request_id": "example-1", "outcome": "buy", "pnl": 12.5, "observed_at": "2026-11-27T21:00:00Z"}
    row = list(features().values())
    tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP32"}
    v2 = json.dumps({"inputs": [{**tensor, "data": row}]})
    raw = struct.pack(f"<{len(row)}f", *row)
    head = json.dumps(
        {
            "id": "example-2",
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()
    octets = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    infer = "/v2/models/spx-direction/infer"
    trusted = iam(DESK)
    user = jwt("5f0c2f1e-anna", roles="[predictor desk]")
    gzipped = {"content-type": "application/json", "content-encoding": "gzip"}
    return {
        "v1-iam": event("POST", "/v1/predict", v1, authorizer=trusted),
        "v1-iam-role-missing": event("POST", "/v1/predict", v1, authorizer=iam(VISITOR)),
        "v1-jwt": event("POST", "/jwt/v1/predict", v1, authorizer=user),
        "v1-jwt-scope": event(
            "POST", "/jwt/v1/predict", v1, authorizer=jwt("batch-7", ["sealcast/predictor"], scope="sealcast/predictor")
        ),
        "v1-jwt-role-missing": event("POST", "/jwt/v1/predict", v1, authorizer=jwt("5f0c2f1e-anna", roles="[admin]")),
        "v1-jwt-subject-is-an-arn": event("POST", "/jwt/v1/predict", v1, authorizer=jwt(DESK, roles="[predictor]")),
        "v1-no-authorizer": event("POST", "/v1/predict", v1),
        "v1-request-id": event("POST", "/v1/predict", json.dumps(named_twice), authorizer=trusted),
        "v1-request-id-invalid": event(
            "POST", "/v1/predict", v1, headers={"x-request-id": "a b"}, authorizer=trusted
        ),
        "v1-bad-json": event("POST", "/v1/predict", '{"symbol": "SPX", "features": ', authorizer=trusted),
        "v1-feature-missing": event("POST", "/v1/predict", json.dumps(incomplete), authorizer=trusted),
        "v1-no-body": event("POST", "/v1/predict", authorizer=trusted),
        "v1-text-as-base64": event(
            "POST", "/v1/predict", binary=v1.encode(), headers={"content-type": "application/vnd.api+json"},
            authorizer=trusted,
        ),
        "v1-gzip": event(
            "POST", "/v1/predict", binary=gzip.compress(v1.encode(), mtime=0), headers=gzipped, authorizer=trusted
        ),
        "v1-gzip-broken": event("POST", "/v1/predict", binary=b"\x1f\x8b no gzip", headers=gzipped, authorizer=trusted),
        "v1-batch": event("POST", "/v1/predict/batch", json.dumps(batch), authorizer=trusted),
        "v1-batch-long": event(
            "POST", "/v1/predict/batch", json.dumps(long_batch), headers={"accept-encoding": "gzip"},
            authorizer=trusted,
        ),
        "v1-outcomes": event("POST", "/v1/outcomes", json.dumps(outcome), authorizer=trusted),
        "v2-infer": event("POST", infer, v2, authorizer=trusted),
        "v2-infer-jwt": event("POST", "/jwt" + infer, v2, authorizer=user),
        "v2-infer-binary": event("POST", infer, binary=head + raw, headers=octets, authorizer=trusted),
        "v2-infer-gzip-answer": event(
            "POST", infer,
            json.dumps({"inputs": [{**tensor, "shape": [200, len(row)], "data": row * 200}]}),
            headers={"accept-encoding": "gzip"}, authorizer=trusted,
        ),
        "v2-model-unknown": event("POST", "/v2/models/ndx-direction/infer", v2, authorizer=trusted),
        "v2-models": event("GET", "/v2/models", authorizer=trusted),
        "v2-health-live": event("GET", "/v2/health/live"),
        "v2-health-ready": event("GET", "/v2/health/ready"),
        "unknown-route": event("GET", "/v1/nowhere", authorizer=trusted),
        "wrong-method": event("DELETE", "/v1/predict", authorizer=trusted),
    }


def health():
    return {
        "healthz": event("GET", "/healthz"),
        "readyz": event("GET", "/readyz"),
        "status-iam": event("GET", "/v1/status", authorizer=iam(DESK)),
        "status-jwt": event("GET", "/jwt/v1/status", authorizer=jwt("5f0c2f1e-anna", roles="[auditor]")),
        "status-iam-role-missing": event("GET", "/v1/status", authorizer=iam(VISITOR)),
        "status-no-authorizer": event("GET", "/v1/status"),
        "wrong-method": event("POST", "/readyz", "{}"),
    }


def audit_query():
    auditor = jwt("5f0c2f1e-anna", roles="[auditor]")
    stream = "01" * 16
    span = "from=2026-01-01T00:00:00Z&until=2026-01-01T00:10:00Z"

    def get(path, query="", **more):
        return event("GET", "/jwt/v1/audit/" + path, query=query, authorizer=auditor, **more)

    return {
        "events": get("events", f"{span}&symbol=SPX"),
        "events-ndjson": get("events", f"{span}&symbol=SPX&limit=2", headers={"accept": "application/x-ndjson"}),
        "events-csv": get("events", f"{span}&kind=prediction&format=csv"),
        "events-iam-role-missing": event("GET", "/v1/audit/events", query=span, authorizer=iam(DESK)),
        "events-no-authorizer": event("GET", "/v1/audit/events", query=span),
        "events-parameter-unknown": get("events", f"{span}&sybmol=SPX"),
        "events-cursor-invalid": get("events", "cursor=AQAGR"),
        "events-range-too-wide": get("events", "from=2025-12-01T00:00:00Z&until=2026-01-01T00:00:00Z"),
        "event": get(f"events/{stream}/0"),
        "event-unknown": get(f"events/{stream}/99"),
        "event-not-sealed": get(f"events/{stream}/3"),
        "proof": get(f"events/{stream}/1/proof"),
        "proof-not-sealed": get(f"events/{stream}/3/proof"),
        "registration": get(f"streams/{stream}/registration"),
        "checkpoint": get("checkpoint"),
        "tile": get("tile/0/000.p/5"),
        "tile-unknown": get("tile/0/001"),
        "tile-is-none": get("tile/0/1"),
        "log-vkey": get("log.vkey"),
        "wrong-method": event("POST", "/v1/audit/events", "{}", authorizer=iam(DESK)),
    }


def main():
    wanted = {
        HERE / function / f"{case}.json": json.dumps(made, indent=2) + "\n"
        for function, cases in [("predict", predict()), ("health", health()), ("audit-query", audit_query())]
        for case, made in cases.items()
    }
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
