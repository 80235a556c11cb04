"""NVIDIA's `tritonclient.http`, as its users call it: binary tensors both ways unless said otherwise."""

import asyncio
import uuid

import numpy
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from conftest import COLUMNS, MODEL, VERSION, Served


class Bearer(triton.InferenceServerClientPlugin):
    """The client's own way to add a header to every request."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request) -> None:
        request.headers["Authorization"] = f"Bearer {self.token}"


@pytest.fixture
def client(served: Served):
    with triton.InferenceServerClient(served.address) as client:
        client.register_plugin(Bearer(served.token))
        yield client


def features(served: Served, rows: int, binary: bool = True, first: int = 0) -> list[triton.InferInput]:
    tensor = triton.InferInput("features", [rows, COLUMNS], "FP32")
    values = numpy.array(served.rows[first : first + rows], dtype=numpy.float32)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]


def check(served: Served, result: triton.InferResult, first: int = 0) -> None:
    labels, probabilities = result.as_numpy("label"), result.as_numpy("probabilities")
    assert labels.dtype == numpy.int64 and labels.shape == (len(labels),)
    assert probabilities.dtype == numpy.float32 and probabilities.shape == (len(labels), 3)
    served.check(labels, probabilities.ravel(), first)


def test_health_needs_no_token(served: Served):
    with triton.InferenceServerClient(served.open_address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()


def test_server_metadata_names_the_extensions_that_work(client):
    metadata = client.get_server_metadata()
    assert metadata["name"] and metadata["version"]
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", VERSION])
def test_model_metadata_describes_the_tensors(client, version):
    metadata = client.get_model_metadata(MODEL, version)
    assert metadata["name"] == MODEL
    assert metadata["versions"] == [VERSION]
    assert metadata["platform"] == "onnx_onnxv1"
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, COLUMNS]}]
    assert {output["name"]: (output["datatype"], output["shape"]) for output in metadata["outputs"]} == {
        "label": ("INT64", [-1]),
        "probabilities": ("FP32", [-1, 3]),
    }


def test_a_model_is_ready_and_an_unknown_one_is_not(client):
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, VERSION)
    assert not client.is_model_ready(MODEL, "9.9.9")
    assert not client.is_model_ready("no-such-model")


def test_the_repository_index_lists_the_model(client):
    entry = next(entry for entry in client.get_model_repository_index() if entry["name"] == MODEL)
    assert (entry["version"], entry["state"]) == (VERSION, "READY")


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_binary_tensors_are_the_default(served, client, rows):
    result = client.infer(MODEL, features(served, rows))
    check(served, result)
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == (MODEL, VERSION)
    assert all("data" not in output for output in response["outputs"])
    assert response["parameters"]["degraded"] is False
    assert response["parameters"]["answered_by"] == f"{MODEL}@{VERSION}"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_compressed_request_is_read(served, client, algorithm, binary):
    result = client.infer(
        MODEL,
        features(served, 5, binary=binary),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    check(served, result)


def test_json_tensors_both_ways(served, client):
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("label", "probabilities")]
    result = client.infer(MODEL, features(served, 3, binary=False), outputs=outputs)
    check(served, result)
    assert all("data" in output for output in result.get_response()["outputs"])


def test_each_output_has_its_own_form(served, client):
    outputs = [
        triton.InferRequestedOutput("probabilities", binary_data=True),
        triton.InferRequestedOutput("label", binary_data=False),
    ]
    result = client.infer(MODEL, features(served, 3), outputs=outputs)
    check(served, result)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["probabilities", "label"]
    assert "data" not in result.get_output("probabilities")
    assert "data" in result.get_output("label")


def test_only_the_outputs_asked_for_are_sent(served, client):
    result = client.infer(MODEL, features(served, 2), outputs=[triton.InferRequestedOutput("label")])
    assert list(result.as_numpy("label")) == served.labels[:2]
    assert result.as_numpy("probabilities") is None


def test_a_version_can_be_asked_for(served, client):
    result = client.infer(MODEL, features(served, 2, first=40), model_version=VERSION)
    check(served, result, first=40)
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, features(served, 1), model_version="9.9.9")
    assert refused.value.status() == "404"


def test_the_request_id_comes_back_and_repeats_the_recorded_answer(served, client):
    request_id = f"triton-{uuid.uuid4()}"
    first = client.infer(MODEL, features(served, 2), request_id=request_id)
    assert first.get_response()["id"] == request_id
    again = client.infer(MODEL, features(served, 2), request_id=request_id)
    check(served, again)
    assert again.get_response()["parameters"] == first.get_response()["parameters"]
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, features(served, 2, first=9), request_id=request_id)
    assert refused.value.status() == "409"


def test_the_symbol_is_a_parameter(served, client):
    check(served, client.infer(MODEL, features(served, 1), parameters={"symbol": "SPX"}))
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, features(served, 1), parameters={"symbol": "DAX"})
    assert refused.value.status() == "403"
    assert "DAX" in refused.value.message()


@pytest.mark.own_server("the stack's example is sealed without a background")
def test_an_explanation_comes_as_further_tensors(served, client):
    result = client.infer(MODEL, features(served, 3), parameters={"explain": True})
    check(served, result)
    names = [name.decode() for name in result.as_numpy("explanation.features")]
    assert len(names) == COLUMNS and "rsi_14" in names
    assert list(result.as_numpy("explanation.classes")) == [b"sell", b"hold", b"buy"]
    expectation, score = result.as_numpy("explanation.expectation"), result.as_numpy("explanation.score")
    contributions = result.as_numpy("explanation.contributions")
    assert contributions.dtype == numpy.float64 and contributions.shape == (3, COLUMNS, 3)
    numpy.testing.assert_allclose(contributions.sum(axis=1), score - expectation, atol=1e-9)
    assert list(score.argmax(axis=1)) == list(result.as_numpy("label"))
    assert result.get_response()["parameters"]["explanation_method"] == "tree_shap_path_dependent"
    assert client.infer(MODEL, features(served, 3)).as_numpy("explanation.score") is None
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, features(served, 1), parameters={"explain": "yes"})
    assert refused.value.status() == "400"
    assert "true or false" in refused.value.message()


def test_several_requests_run_at_once(served):
    with triton.InferenceServerClient(served.address, concurrency=8) as client:
        client.register_plugin(Bearer(served.token))
        under_way = [client.async_infer(MODEL, features(served, 1, first=row)) for row in range(32)]
        for row, request in enumerate(under_way):
            check(served, request.get_result(), first=row)


def test_the_asyncio_client_works_the_same_way(served):
    async def ask():
        async with triton_aio.InferenceServerClient(served.address) as client:
            assert await client.is_model_ready(MODEL, headers=served.bearer)
            return await client.infer(MODEL, features(served, 4), headers=served.bearer)

    check(served, asyncio.run(ask()))


def test_a_wrong_shape_raises_with_the_servers_words(client):
    tensor = triton.InferInput("features", [1, 13], "FP32")
    tensor.set_data_from_numpy(numpy.zeros((1, 13), dtype=numpy.float32))
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, [tensor])
    assert refused.value.status() == "400"
    assert "14" in refused.value.message() and "13" in refused.value.message()


def test_a_wrong_datatype_raises_with_the_servers_words(client):
    tensor = triton.InferInput("features", [1, COLUMNS], "FP64")
    tensor.set_data_from_numpy(numpy.zeros((1, COLUMNS), dtype=numpy.float64))
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, [tensor])
    assert refused.value.status() == "400"
    assert "FP32" in refused.value.message()


def test_an_unknown_model_raises_with_the_servers_words(served, client):
    with pytest.raises(InferenceServerException) as refused:
        client.infer("no-such-model", features(served, 1))
    assert refused.value.status() == "404"
    assert "no model of this name" in refused.value.message()


@pytest.mark.own_server("the gateway refuses credentials in its own words")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_a_missing_or_wrong_token_raises(served, headers):
    with triton.InferenceServerClient(served.address) as client:
        with pytest.raises(InferenceServerException) as refused:
            client.infer(MODEL, features(served, 1), headers=headers)
        assert refused.value.status() == "401"
        assert "credentials" in refused.value.message()


def test_a_connection_lives_on_after_an_error(served, client):
    for _ in range(3):
        with pytest.raises(InferenceServerException):
            client.infer("no-such-model", features(served, 1))
        check(served, client.infer(MODEL, features(served, 1)))
