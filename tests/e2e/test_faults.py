"""Models that are not what was released: the version that is to serve them is not ready, says why, and records it; the
version that is live goes on."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, Stack
from events import find_events
from models import CONTAINER, MANIFEST, MARKER, SIDECAR, SIGNATURE, StoredModel, seal_and_push

EXAMPLE = ROOT / "examples" / MODEL


@dataclass(frozen=True)
class Case:
    """What is done to a model, and the code under which it is refused."""

    name: str
    code: str
    spoil: Callable[[StoredModel, StoredModel], None]


def flip_a_bit(model: StoredModel, _other) -> None:
    content = bytearray(model.read(CONTAINER))
    content[len(content) // 2] ^= 1
    model.replace(CONTAINER, bytes(content))


def cut_the_end_off(model: StoredModel, _other) -> None:
    model.replace(CONTAINER, model.read(CONTAINER)[:-20_000])


def widen_a_range(model: StoredModel, _other) -> None:
    manifest = json.loads(model.read(MANIFEST))
    manifest["latency_budget_ms"] += 1
    model.replace(MANIFEST, json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode())


def swap_everything(model: StoredModel, other: StoredModel) -> None:
    for file in (CONTAINER, MANIFEST, SIDECAR, SIGNATURE):
        model.replace(file, other.read(file))


def swap_the_sidecar(model: StoredModel, other: StoredModel) -> None:
    model.replace(SIDECAR, other.read(SIDECAR))


def rewrite_sidecar(model: StoredModel, wrapped: bytes) -> None:
    sidecar = json.loads(model.read(SIDECAR))
    sidecar["wrapped_key"] = base64.b64encode(wrapped).decode()
    model.replace(SIDECAR, json.dumps(sidecar).encode())


def wrap_under_another_context(model: StoredModel, other: StoredModel) -> None:
    rewrite_sidecar(model, base64.b64decode(json.loads(other.read(SIDECAR))["wrapped_key"]))


def wrap_another_data_key(model: StoredModel, _other) -> None:
    sidecar = json.loads(model.read(SIDECAR))
    context = {name: sidecar[name] for name in ("model", "version", "sha256")}
    key = model.stack.client("kms").generate_data_key(
        KeyId=model.stack["DATA_KEY"], KeySpec="AES_256", EncryptionContext=context
    )
    rewrite_sidecar(model, key["CiphertextBlob"])


def tamper_with_the_wrapped_key(model: StoredModel, _other) -> None:
    wrapped = bytearray(base64.b64decode(json.loads(model.read(SIDECAR))["wrapped_key"]))
    wrapped[-40] ^= 1
    rewrite_sidecar(model, bytes(wrapped))


def remove_the_container(model: StoredModel, _other) -> None:
    model.remove(CONTAINER)


def remove_the_sidecar(model: StoredModel, _other) -> None:
    model.remove(SIDECAR)


def remove_everything(model: StoredModel, _other) -> None:
    for file in (CONTAINER, MANIFEST, SIDECAR, SIGNATURE, MARKER):
        model.remove(file)


def disable_the_key(model: StoredModel, _other) -> None:
    model.stack.client("kms").disable_key(KeyId=model.stack["DATA_KEY"])


CASES = [
    Case("a bit of the container is flipped", "artifact.digest_mismatch", flip_a_bit),
    Case("the container is cut", "artifact.digest_mismatch", cut_the_end_off),
    Case("the manifest is changed", "artifact.digest_mismatch", widen_a_range),
    Case("all files are another model's", "artifact.wrong_model", swap_everything),
    Case("the sidecar is another model's", "artifact.sidecar_mismatch", swap_the_sidecar),
    Case("the data key is wrapped under another context", "key.unwrap_refused", wrap_under_another_context),
    Case("the wrapped key is tampered with", "key.unwrap_refused", tamper_with_the_wrapped_key),
    Case("another data key is wrapped", "artifact.commitment_mismatch", wrap_another_data_key),
    Case("the container is gone", "artifact.corrupt", remove_the_container),
    Case("the sidecar is gone", "artifact.corrupt", remove_the_sidecar),
    Case("everything is gone", "artifact.not_found", remove_everything),
    Case("the key is disabled", "key.unknown", disable_the_key),
]


@pytest.fixture(scope="module")
def other(sealcast, people, tmp_path_factory) -> StoredModel:
    """A good model, whose files are put in others' places."""
    return seal_and_push(sealcast, people, EXAMPLE, tmp_path_factory.mktemp("other"), "2.0.0")


@pytest.fixture
def key_is_enabled(stack) -> Iterator[None]:
    yield
    stack.client("kms").enable_key(KeyId=stack["DATA_KEY"])


@dataclass(frozen=True)
class Version:
    """A published version of predict that is to serve a release, and that no alias points to."""

    stack: Stack
    number: str

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        """What it answers to a request as API Gateway hands it on from a caller with IAM credentials."""
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"content-type": "application/json", "host": "e2e"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "e2e",
                "authorizer": {"iam": {"accountId": "000000000000", "userArn": "arn:aws:iam::000000000000:user/e2e"}},
                "domainName": "e2e",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
                "requestId": "e2e",
                "routeKey": "$default",
                "stage": "$default",
                "timeEpoch": 0,
            },
            "isBase64Encoded": False,
        }
        if body is not None:
            event["body"] = json.dumps(body)
        done = self.stack.client("lambda").invoke(
            FunctionName=self.stack["PREDICT_FUNCTION"], Qualifier=self.number, Payload=json.dumps(event)
        )
        answer = json.loads(done["Payload"].read())
        assert "FunctionError" not in done, answer
        return answer["statusCode"], json.loads(answer["body"])


def publish(stack: Stack, release: str) -> Version:
    """What activation does, without the alias: sets the release and publishes a version."""
    client, name = stack.client("lambda"), stack["PREDICT_FUNCTION"]
    now = client.get_function_configuration(FunctionName=name)
    variables = {**now["Environment"]["Variables"], "SEALCAST_RELEASE": release}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    return Version(stack, version)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_not_released_is_not_served(
    stack, people, sealcast, example, token, other, key_is_enabled, tmp_path: Path, request, case: Case
):
    version = f"1.1.{CASES.index(case)}"
    model = seal_and_push(sealcast, people, EXAMPLE, tmp_path, version)
    live = ("--live", model.label, "--created-by", "e2e")
    release = sealcast.run(people["releaser"], "release", "create", *live)["release"]["id"]
    before = stack.gateway.plain("GET", "/v2/health/ready")
    assert before.status_code == 200, before.text

    case.spoil(model, other)
    refusing = publish(stack, release)

    status, body = refusing.ask("GET", "/v2/health/ready")
    assert (status, body["ready"], body["reason"]) == (503, False, case.code), body
    status, body = refusing.ask("POST", "/v1/predict", example.request)
    assert (status, body["code"]) == (503, "model.not_ready"), body
    assert "receipt" not in body

    [access] = [event for event in find_events(stack, "model_access", model.label)][:1]
    assert (access["data"]["outcome"], access["data"]["code"]) == ("failed", case.code)
    security = find_events(stack, "security", model.label)
    assert security, "no security event was recorded"
    assert all(event["data"]["code"] == case.code for event in security), security

    answer = stack.gateway.with_token(token, "POST", "/v1/predict", example.request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["answered_by"] == f"{MODEL}@1.0.0"


def test_a_mended_model_is_served_by_the_same_process(stack, people, sealcast, example, tmp_path):
    model = seal_and_push(sealcast, people, EXAMPLE, tmp_path, "1.2.0")
    live = ("--live", model.label, "--created-by", "e2e")
    release = sealcast.run(people["releaser"], "release", "create", *live)["release"]["id"]
    container = model.read(CONTAINER)
    model.remove(CONTAINER)
    version = publish(stack, release)
    assert version.ask("GET", "/v2/health/ready")[0] == 503
    model.replace(CONTAINER, container)
    answers = []
    # The next attempt waits for its back-off: a second, then two.
    for _ in range(60):
        answers.append(version.ask("GET", "/v2/health/ready")[0])
        if answers[-1] == 200:
            break
        time.sleep(0.25)
    assert answers[-1] == 200, answers
    status, body = version.ask("POST", "/v1/predict", example.request)
    assert (status, body["answered_by"]) == (200, model.label), body
