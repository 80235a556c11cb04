"""What the health function sees of the deployed fleet."""

import time
from collections.abc import Callable, Iterator

import pytest
from botocore.credentials import Credentials
from events import find_events
from tokens import get_token

SEEN_FOR_S = 3
"""How long a look is shown again."""
DEPENDENCIES = {"registry", "audit", "requests", "models", "data-key", "stream-key"}


def wait_for(look: Callable, fits: Callable) -> dict:
    """What a look sees, as soon as it fits; fails with the last one that did not."""
    until = time.monotonic() + 4 * SEEN_FOR_S
    while True:
        answer = look()
        if fits(answer):
            return answer.json()
        assert time.monotonic() < until, answer.text
        time.sleep(0.3)


def readyz(stack) -> Callable:
    return lambda: stack.gateway.plain("GET", "/readyz")


def test_all_is_well_after_a_prediction(stack, people, example, token):
    assert stack.gateway.with_token(token, "POST", "/v1/predict", example.request).status_code == 200
    assert stack.gateway.plain("GET", "/healthz").status_code == 200
    status = wait_for(
        lambda: stack.gateway.signed(people["caller"], "GET", "/v1/status"), lambda answer: answer.json()["status"] == "ok"
    )
    assert status["score"]["value"] == 100 and status["reasons"] == []
    assert {dependency["name"]: dependency["ok"] for dependency in status["dependencies"]} == dict.fromkeys(
        DEPENDENCIES, True
    )
    assert status["alias"]["release"] == status["release"]["id"] == "r-000001"
    assert [(model["name"], model["role"]) for model in status["release"]["models"]] == [
        ("spx-direction", "live"),
        ("spx-direction-mlp", "fallback"),
    ]
    alias = stack.client("lambda").get_alias(FunctionName=stack["PREDICT_FUNCTION"], Name="live")
    [version] = status["versions"]
    assert (version["version"], version["weight"], version["state"]) == (alias["FunctionVersion"], 1.0, "serving")
    assert status["newest_event_age_ms"] < 60_000


def test_status_asks_for_a_role(stack, people):
    assert stack.gateway.with_token(get_token("alice", "auditor"), "GET", "/v1/status").status_code == 200
    refused = stack.gateway.with_token(get_token("mallory"), "GET", "/v1/status")
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.role_missing")
    nobody: Credentials = people["nobody"]
    assert stack.gateway.signed(nobody, "GET", "/v1/status").status_code == 403


@pytest.fixture
def disabled_key(stack) -> Iterator[str]:
    kms = stack.client("kms")
    kms.disable_key(KeyId=stack["DATA_KEY"])
    yield "data-key"
    kms.enable_key(KeyId=stack["DATA_KEY"])


def test_a_disabled_key_makes_the_fleet_not_ready_and_is_recorded(stack, disabled_key):
    seen = wait_for(readyz(stack), lambda answer: answer.json()["status"] != "ok")
    assert seen["status"] == "down" and seen["ready"] is False
    assert {"code": "dependency.gone", "subject": disabled_key, "blocking": True} in seen["reasons"]
    assert find_events(stack, "security", "dependency.gone", disabled_key)
    stack.client("kms").enable_key(KeyId=stack["DATA_KEY"])
    wait_for(readyz(stack), lambda answer: answer.json()["status"] == "ok")
    assert find_events(stack, "security", "dependency.restored", disabled_key)


@pytest.fixture
def moved_alias(stack) -> Iterator[None]:
    """The alias on its first version, which has no release, by somebody who is no activation."""
    client, name = stack.client("lambda"), stack["PREDICT_FUNCTION"]
    before = client.get_alias(FunctionName=name, Name="live")
    described = {"FunctionName": name, "Name": "live", "Description": before["Description"]}
    client.update_alias(**described, FunctionVersion="1")
    yield
    client.update_alias(**described, FunctionVersion=before["FunctionVersion"])


def test_an_alias_that_was_moved_from_outside_is_seen_and_recorded(stack, moved_alias):
    # Not just any 503: what was seen before is shown again for a while.
    seen = wait_for(readyz(stack), lambda answer: "alias.moved" in answer.text)
    assert seen["ready"] is False and "alias.moved" in [reason["code"] for reason in seen["reasons"]]
    assert find_events(stack, "security", "alias.moved")


def test_it_is_ready_again_after_what_was_done_is_undone(stack):
    wait_for(readyz(stack), lambda answer: answer.status_code == 200)
