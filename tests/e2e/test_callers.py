"""Who may ask, and what an answer carries."""

import json
import struct
import time

import jwt
import pytest
from botocore.credentials import Credentials
from conftest import MODEL
from cryptography.hazmat.primitives.asymmetric import rsa
from tokens import get_token

INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"


def verify(sealcast, people, answer) -> dict:
    """The event that a receipt names, after the whole stream was read from the table and verified."""
    receipt = answer.headers["sealcast-receipt"]
    stream = receipt.split(":")[0]
    found = sealcast.run(people["auditor"], "audit", "verify", "--stream", stream, "--receipt", receipt)
    assert found["verified"] is True
    [event] = found["receipts"]
    assert event["stream"] == stream
    return event


def test_a_signed_request_is_answered_with_a_receipt_that_verifies(stack, people, example, sealcast):
    answer = stack.gateway.signed(people["caller"], "POST", "/v1/predict", example.request)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["answered_by"] == f"{MODEL}@1.0.0" and body["degraded"] is False
    event = verify(sealcast, people, answer)
    assert event["kind"] == "prediction"
    assert event["data"]["request_id"] == answer.headers["x-request-id"]
    assert event["data"]["principal"] == "arn:aws:iam::000000000000:user/caller"


def test_a_token_is_answered_with_a_receipt_that_verifies(stack, people, example, sealcast, token):
    answer = stack.gateway.with_token(token, "POST", INFER, example.infer(5))
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert outputs["label"] == example.labels[:5]
    event = verify(sealcast, people, answer)
    assert (event["kind"], event["data"]["principal"]) == ("prediction", "alice")


def test_a_wrong_receipt_does_not_verify(stack, people, example, sealcast, token):
    answer = stack.gateway.with_token(token, "POST", INFER, example.infer())
    stream, seq, leaf_hash = answer.headers["sealcast-receipt"].split(":")
    forged = f"{stream}:{seq}:{leaf_hash[:-1]}{'0' if leaf_hash[-1] != '0' else '1'}"
    done = sealcast.start(people["auditor"], "audit", "verify", "--stream", stream, "--receipt", forged)
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize("scopes", ["sealcast/predictor", "openid sealcast/predictor"])
def test_a_scope_gives_a_role_too(stack, example, scopes):
    answer = stack.gateway.with_token(get_token("bob", scope=scopes), "POST", INFER, example.infer())
    assert answer.status_code == 200, answer.text


def test_binary_bodies_pass_the_gateway_both_ways(stack, people, example, token):
    row = example.rows[0]
    raw = struct.pack(f"<{len(row)}f", *row)
    tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
    for answer in (
        stack.gateway.with_token(token, "POST", INFER, head + raw, headers),
        stack.gateway.signed(people["caller"], "POST", INFER, head + raw, headers),
    ):
        assert answer.status_code == 200, answer.content
        length = int(answer.headers[LENGTH])
        outputs = json.loads(answer.content[:length])["outputs"]
        assert [output["name"] for output in outputs] == ["label", "probabilities"]
        label, *probabilities = struct.unpack("<q3f", answer.content[length:])
        assert label == example.labels[0]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_without_credentials_only_health_and_the_description_answer(stack, example):
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json"):
        assert stack.gateway.plain("GET", path).status_code == 200, path
    for method, path, status in [
        ("POST", "/v1/predict", 403),
        ("POST", INFER, 403),
        ("GET", "/v2", 403),
        ("GET", "/v1/status", 403),
        ("POST", "/jwt/v1/predict", 401),
        ("POST", f"/jwt{INFER}", 401),
        ("GET", "/jwt/v1/status", 401),
    ]:
        answer = stack.gateway.plain(method, path, example.request if method == "POST" else None)
        assert answer.status_code == status, (path, answer.text)


def test_iam_credentials_that_are_wrong_or_without_a_policy_are_refused(stack, people, example):
    caller = people["caller"]
    wrong = Credentials(caller.access_key, "not-the-secret")
    unknown = Credentials("AKIA0000000000000000", caller.secret_key)
    for who in (wrong, unknown, people["nobody"], people["auditor"]):
        answer = stack.gateway.signed(who, "POST", "/v1/predict", example.request)
        assert answer.status_code == 403, answer.text
        assert "sealcast-receipt" not in answer.headers


def forge(**changed) -> str:
    """A token that only its key, or what is changed, tells from a good one."""
    good = get_token("alice", "predictor")
    claims = {**jwt.decode(good, options={"verify_signature": False}), **changed}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": jwt.get_unverified_header(good)["kid"]})


def test_tokens_that_are_no_good_are_refused(stack, example):
    good = get_token("alice", "predictor")
    for bad in (
        "no-token",
        f"{good}x",
        forge(),
        get_token("alice", "predictor", lifetime_s=-60),
        get_token("alice", "predictor", aud="another-service"),
        get_token("alice", "predictor", iss="http://127.0.0.1:1"),
        get_token("alice", "predictor", nbf=int(time.time()) + 600),
    ):
        answer = stack.gateway.with_token(bad, "POST", INFER, example.infer())
        assert answer.status_code == 401, (bad, answer.text)


@pytest.mark.parametrize("roles", [[], ["releaser"], ["predictors"], ["auditor"]])
def test_a_token_without_the_role_is_forbidden(stack, example, roles):
    answer = stack.gateway.with_token(get_token("mallory", *roles), "POST", INFER, example.infer())
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.role_missing"), answer.text


def test_a_tokens_subject_cannot_pass_for_an_iam_principal(stack, example):
    token = get_token("arn:aws:iam::000000000000:user/caller", "predictor")
    answer = stack.gateway.with_token(token, "POST", INFER, example.infer())
    assert answer.status_code in (401, 403), answer.text
    assert "sealcast-receipt" not in answer.headers or answer.json()["code"].startswith("auth.")


def test_a_repeated_id_gives_the_recorded_answer_to_its_caller_alone(stack, people, example, token):
    body = {**example.infer(), "id": "e2e-repeated"}
    first, again = (stack.gateway.with_token(token, "POST", INFER, body) for _ in range(2))
    assert first.status_code == again.status_code == 200, first.text + again.text
    assert first.headers["sealcast-receipt"] == again.headers["sealcast-receipt"]
    assert again.headers["sealcast-replayed"] == "true"
    other = stack.gateway.with_token(token, "POST", INFER, {**example.infer(2), "id": "e2e-repeated"})
    assert (other.status_code, other.json()["code"]) == (409, "request.id_reused")
    another = stack.gateway.signed(people["caller"], "POST", INFER, body)
    assert another.headers["sealcast-receipt"] != first.headers["sealcast-receipt"]
