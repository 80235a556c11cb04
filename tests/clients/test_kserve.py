"""KServe's `InferenceRESTClient` with the protocol `v2`.

It has no call for metadata and none for versions: users put the version in the model's name, as here.
"""

import asyncio
import uuid

import httpx
import numpy
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from conftest import COLUMNS, MODEL, VERSION, Served


def ask(use):
    """Runs `use(client)` with a client."""

    async def run():
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await use(client)

    return asyncio.run(run())


def features(served: Served, rows: int, first: int = 0) -> InferInput:
    return InferInput("features", [rows, COLUMNS], "FP32", data=served.rows[first : first + rows])


def binary_features(served: Served, rows: int, first: int = 0) -> InferInput:
    tensor = InferInput("features", [rows, COLUMNS], "FP32")
    values = numpy.array(served.rows[first : first + rows], dtype=numpy.float32)
    tensor.set_data_from_numpy(values, binary_data=True)
    return tensor


def infer(served: Served, request: InferRequest, model=MODEL, **given) -> InferResponse:
    given.setdefault("headers", served.bearer)
    return ask(lambda client: client.infer(served.url, request, model_name=model, **given))


def check(served: Served, response: InferResponse, first: int = 0) -> None:
    outputs = {output.name: output.as_numpy().ravel() for output in response.outputs}
    served.check(outputs["label"], outputs["probabilities"], first)


def test_health_needs_no_token(served):
    assert ask(lambda client: client.is_server_live(served.open_url)) is True
    assert ask(lambda client: client.is_server_ready(served.open_url)) is True


def test_a_model_is_ready_and_an_unknown_one_is_not(served):
    def ready(model):
        return ask(lambda client: client.is_model_ready(served.url, model, headers=served.bearer))

    assert ready(MODEL) is True
    assert ready(f"{MODEL}/versions/{VERSION}") is True
    assert ready("no-such-model") is False


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_json_tensors_are_the_default(served, rows):
    response = infer(served, InferRequest(MODEL, [features(served, rows)]))
    check(served, response)
    assert response.model_name == MODEL
    assert response.parameters["answered_by"] == f"{MODEL}@{VERSION}"


def test_binary_input_and_json_output(served):
    check(served, infer(served, InferRequest(MODEL, [binary_features(served, 5)])))


@pytest.mark.parametrize("rows", [1, 7])
def test_binary_tensors_both_ways(served, rows):
    headers = {}
    request = InferRequest(MODEL, [binary_features(served, rows)], parameters={"binary_data_output": True})
    response = infer(served, request, response_headers=headers)
    check(served, response)
    assert int(headers["inference-header-content-length"]) > 0


def test_each_output_has_its_own_form(served):
    outputs = [RequestedOutput("label", {"binary_data": False}), RequestedOutput("probabilities", {"binary_data": True})]
    request = InferRequest(MODEL, [features(served, 2)], request_outputs=outputs)
    response = infer(served, request)
    check(served, response)
    assert [output.name for output in response.outputs] == ["label", "probabilities"]


def test_a_version_can_be_asked_for(served):
    request = InferRequest(MODEL, [features(served, 2, first=40)])
    check(served, infer(served, request, model=f"{MODEL}/versions/{VERSION}"), first=40)


def test_the_request_id_comes_back_and_repeats_the_recorded_answer(served):
    request_id = f"kserve-{uuid.uuid4()}"
    request = InferRequest(MODEL, [features(served, 2)], request_id=request_id)
    first, again = infer(served, request), infer(served, request)
    assert first.id == again.id == request_id
    assert again.parameters == first.parameters
    check(served, again)


def test_a_wrong_shape_raises_with_the_servers_words(served):
    tensor = InferInput("features", [1, 13], "FP32", data=[[0.0] * 13])
    with pytest.raises(httpx.HTTPStatusError, match="400") as refused:
        infer(served, InferRequest(MODEL, [tensor]))
    # The client shows the server's sentence only where the content type is exactly `application/json`.
    assert refused.value.response.json()["error"] in str(refused.value)
    assert "14" in str(refused.value)


def test_an_unknown_model_raises_with_the_servers_words(served):
    with pytest.raises(httpx.HTTPStatusError, match="404") as refused:
        infer(served, InferRequest("no-such-model", [features(served, 1)]), model="no-such-model")
    assert refused.value.response.json()["error"] in str(refused.value)


@pytest.mark.own_server("the gateway refuses credentials in its own words")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_missing_or_wrong_token_raises(served, headers):
    with pytest.raises(httpx.HTTPStatusError, match="401") as refused:
        infer(served, InferRequest(MODEL, [features(served, 1)]), headers=headers)
    assert refused.value.response.json()["error"] in str(refused.value)
