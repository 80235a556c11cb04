"""MLServer's codecs and types over `requests`, as its documentation sends them, and its `mlserver infer`."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy
import pytest
import requests
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RequestOutput,
)

from conftest import COLUMNS, MODEL, VERSION, Served


def features(served: Served, rows: int, first: int = 0) -> numpy.ndarray:
    return numpy.array(served.rows[first : first + rows], dtype=numpy.float32)


def build_request(served: Served, rows: int, first: int = 0, **given) -> InferenceRequest:
    inputs = [NumpyCodec.encode_input(name="features", payload=features(served, rows, first))]
    return InferenceRequest(inputs=inputs, **given)


def post(served: Served, body: dict, model: str = MODEL, headers: dict | None = None) -> requests.Response:
    url = f"{served.url}/v2/models/{model}/infer"
    return requests.post(url, json=body, headers=served.bearer if headers is None else headers, timeout=30)


def infer(served: Served, body: dict, model: str = MODEL) -> InferenceResponse:
    response = post(served, body, model)
    assert response.status_code == 200, response.text
    return InferenceResponse.model_validate(response.json())


def check(served: Served, response: InferenceResponse, first: int = 0) -> None:
    outputs = {output.name: NumpyCodec.decode_output(output).ravel() for output in response.outputs}
    served.check(outputs["label"], outputs["probabilities"], first)


def test_health_and_metadata_have_the_protocols_form(served):
    for path in ("live", "ready"):
        assert requests.get(f"{served.open_url}/v2/health/{path}", timeout=30).status_code == 200
    server = requests.get(f"{served.url}/v2", headers=served.bearer, timeout=30).json()
    assert MetadataServerResponse.model_validate(server).extensions is not None
    for version in ("", f"/versions/{VERSION}"):
        url = f"{served.url}/v2/models/{MODEL}{version}"
        model = MetadataModelResponse.model_validate(requests.get(url, headers=served.bearer, timeout=30).json())
        assert (model.name, model.versions, model.platform) == (MODEL, [VERSION], "onnx_onnxv1")
        assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in model.inputs] == [
            ("features", "FP32", [-1, COLUMNS])
        ]
        assert requests.get(f"{url}/ready", headers=served.bearer, timeout=30).status_code == 200


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_request_of_the_numpy_codec_is_answered(served, rows):
    response = infer(served, build_request(served, rows).model_dump())
    check(served, response)
    assert (response.model_name, response.model_version) == (MODEL, VERSION)


@pytest.mark.filterwarnings("ignore:The `dict` method is deprecated:DeprecationWarning")
def test_fields_that_are_null_count_as_absent(served):
    # The documentation's `.dict()` keeps every field, so that absent ones arrive as null.
    body = build_request(served, 2).dict()
    assert body["id"] is None and body["outputs"] is None and body["parameters"] is None
    check(served, infer(served, body))


def test_a_whole_request_can_be_encoded_at_once(served):
    request = NumpyRequestCodec.encode_request(features(served, 3))
    request.inputs[0].name = "features"
    check(served, infer(served, request.model_dump()))


def test_only_the_outputs_asked_for_are_sent(served):
    request = build_request(served, 2, outputs=[RequestOutput(name="label")])
    response = infer(served, request.model_dump())
    assert [output.name for output in response.outputs] == ["label"]
    assert list(NumpyCodec.decode_output(response.outputs[0]).ravel()) == served.labels[:2]


def test_a_version_can_be_asked_for(served):
    request = build_request(served, 2, first=40)
    check(served, infer(served, request.model_dump(), f"{MODEL}/versions/{VERSION}"), first=40)


def test_the_request_id_comes_back_and_repeats_the_recorded_answer(served):
    body = build_request(served, 2, id=f"mlserver-{uuid.uuid4()}").model_dump()
    first, again = infer(served, body), infer(served, body)
    assert first.id == again.id == body["id"]
    assert again.parameters == first.parameters
    check(served, again)


def test_errors_have_the_protocols_form(served):
    wrong_shape = build_request(served, 1).model_dump()
    wrong_shape["inputs"][0].update(shape=[1, 13], data=[0.0] * 13)
    good = build_request(served, 1).model_dump()
    for response, status, word in [
        (post(served, wrong_shape), 400, "14"),
        (post(served, good, model="no-such-model"), 404, "no model of this name"),
    ]:
        assert response.status_code == status
        assert word in InferenceErrorResponse.model_validate(response.json()).error


@pytest.mark.own_server("the gateway refuses credentials in its own words")
def test_a_wrong_token_is_refused_in_the_protocols_form(served):
    body = build_request(served, 1).model_dump()
    response = post(served, body, headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert "credentials" in InferenceErrorResponse.model_validate(response.json()).error


def run_mlserver_infer(served: Served, folder: Path, requests_file: list[dict], *options: str) -> list[dict]:
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(body) + "\n" for body in requests_file), encoding="utf-8")
    subprocess.run(
        [Path(sys.executable).with_name("mlserver"), "infer", "-u", served.address, "-m", MODEL]
        + ["-i", source, "-o", target, "-H", f"Authorization: Bearer {served.token}", "-r", "1", *options],
        check=True,
        capture_output=True,
        timeout=120,
    )
    answers = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    return sorted(answers, key=lambda answer: answer["parameters"]["batch_index"])


RAW_AS_JSON = pytest.mark.own_server("sends raw tensors as application/json, which API Gateway hands on as text")


@pytest.mark.parametrize(
    "options", [(), ("-s", "4"), ("-s", "4", "-w", "3"), pytest.param(("-b",), marks=RAW_AS_JSON)]
)
def test_mlserver_infer_works_through_a_file(served, tmp_path, options):
    bodies = [build_request(served, 1, first=row, id=str(uuid.uuid4())).model_dump() for row in range(12)]
    answers = run_mlserver_infer(served, tmp_path, bodies, *options)
    assert len(answers) == 12
    for row, (body, answer) in enumerate(zip(bodies, answers, strict=True)):
        assert answer["id"] == body["id"]
        outputs = {output["name"]: numpy.array(output["data"]).ravel() for output in answer["outputs"]}
        served.check(outputs["label"], outputs["probabilities"], first=row)


def test_mlserver_infer_shows_the_servers_words(served, tmp_path):
    body = build_request(served, 1).model_dump()
    body["inputs"][0].update(shape=[1, 13], data=[0.0] * 13)
    [answer] = run_mlserver_infer(served, tmp_path, [body])
    assert "14" in answer["error"]["msg"]
