"""Paths, methods and access over plain HTTP, and /v1 beside the protocol."""

import json
import uuid

import pytest

from conftest import MODEL, VERSION
from raw_http import INFER, check_error, post, request, send


# --- paths, methods, access


@pytest.mark.own_server("the gateway asks for credentials at /v2, and refuses wrong ones in its own words")
def test_metadata_and_health_are_open_and_all_else_is_not(served):
    for path in ("/v2", "/v2/", "/v2/health/live", "/v2/health/ready"):
        answer = send(served, "GET", path, token=False)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), path
        assert answer.headers["x-request-id"]
    assert send(served, "GET", "/v2/health/live", token=False).json()["live"] is True
    ready = send(served, "GET", "/v2/health/ready", token=False).json()
    assert ready["ready"] is True and ready["live"] is True
    for method, path in [("GET", "/v2/models"), ("GET", f"/v2/models/{MODEL}"), ("POST", INFER)]:
        answer = send(served, method, path, token=False)
        check_error(answer, 401, "auth.missing")
        wrong = send(served, method, path, headers={"Authorization": "Bearer wrong"}, token=False)
        check_error(wrong, 401, "auth.invalid")


def test_the_list_of_models_is_kserves(served):
    assert send(served, "GET", "/v2/models").json() == {"models": [MODEL]}


def test_a_models_readiness_has_a_body(served):
    for path in (f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}/versions/{VERSION}/ready"):
        answer = send(served, "GET", path)
        assert answer.status == 200
        body = answer.json()
        assert (body["name"], body["ready"]) == (MODEL, True)


def test_unknown_things_have_their_own_codes(served):
    body = json.dumps(request(served.rows[:1]))
    for method, path, status, code in [
        ("GET", "/v2/models/no-such-model", 404, "model.unknown"),
        ("POST", "/v2/models/no-such-model/infer", 404, "model.unknown"),
        ("POST", "/v2/models/No_Such/infer", 404, "model.unknown"),
        ("POST", f"/v2/models/{MODEL}-mlp/infer", 404, "model.unknown"),
        ("POST", f"/v2/models/{MODEL}/versions/9.9.9/infer", 404, "model.version_unknown"),
        ("POST", f"/v2/models/{MODEL}/versions/one/infer", 404, "model.version_unknown"),
        ("GET", INFER, 405, "route.method_not_allowed"),
        ("DELETE", "/v2/health/live", 405, "route.method_not_allowed"),
    ]:
        error = check_error(send(served, method, path, body if method == "POST" else None), status, code)
        assert error["error"]


@pytest.mark.own_server("the gateway knows the routes that there are, and answers 404 in its own words")
def test_an_unknown_path_has_its_own_code(served):
    check_error(send(served, "GET", "/v3"), 404, "route.unknown")


# --- /v1, beside the protocol


def test_v1_takes_named_and_listed_features(served):
    names = [
        "ret_1d", "ret_5d", "ret_20d", "ret_60d", "vol_20d", "vol_ratio_5d_60d", "rsi_14",
        "gap_sma_20", "gap_sma_50", "gap_sma_200", "drawdown_252d", "range_1d", "close_location", "volume_z_20d",
    ]  # fmt: skip
    row = served.rows[3]
    for features in (dict(zip(names, row, strict=True)), row):
        answer = post(served, "/v1/predict", {"symbol": "SPX", "features": features})
        assert answer.status == 200, answer.body
        body = answer.json()
        assert body["answered_by"] == f"{MODEL}@{VERSION}" and body["degraded"] is False
        labels = ["sell", "hold", "buy"]
        served.check([labels.index(body["label"])], [body["probabilities"][label] for label in labels], first=3)
        receipt = body["receipt"]
        assert answer.headers["sealcast-receipt"] == f"{receipt['stream']}:{receipt['seq']}:{receipt['leaf_hash']}"


def test_v1_answers_many_rows_at_once(served):
    rows = [{"symbol": "SPX", "features": row} for row in served.rows[:9]]
    answer = post(served, "/v1/predict/batch", {"rows": rows})
    assert answer.status == 200, answer.body
    predictions = answer.json()["predictions"]
    labels = ["sell", "hold", "buy"]
    served.check(
        [labels.index(prediction["label"]) for prediction in predictions],
        [prediction["probabilities"][label] for prediction in predictions for label in labels],
    )


def test_v1_records_what_happened(served):
    asked = {"symbol": "SPX", "features": served.rows[0], "request_id": f"raw-{uuid.uuid4()}"}
    receipt = post(served, "/v1/predict", asked).json()["receipt"]
    for outcome in ({"request_id": asked["request_id"]}, {"receipt": receipt}):
        answer = post(served, "/v1/outcomes", {**outcome, "outcome": "buy", "pnl": 12.5})
        assert answer.status == 202, answer.body
        assert answer.json()["receipt"]["leaf_hash"]


def test_v1_refuses_by_name(served):
    row = served.rows[0]
    check_error(post(served, "/v1/predict", {"symbol": "DAX", "features": row}), 403, "symbol.not_allowed")
    absent = check_error(
        post(served, "/v1/predict", {"symbol": "SPX", "features": {"ret_1d": 0}}), 400, "input.missing_tensor"
    )
    assert absent["field"] == "features.ret_5d"
    check_error(post(served, "/v1/predict", {"symbol": "SPX", "features": row, "model": "x"}), 404, "model.unknown")
    check_error(post(served, "/v1/predict", {"symbol": "SPX", "fetures": row}), 400, "request.unknown_field")
