"""The points of the protocol that no client reaches, over plain HTTP: tensors, compression, ids and receipts."""

import gzip
import hashlib
import json
import uuid
import zlib

import pytest

from conftest import COLUMNS, MODEL, VERSION
from raw_http import INFER, LENGTH, MIB, binary_request, check, check_error, post, raw, request, send, tensor


# --- JSON tensors


def test_data_may_be_flat_or_nested(served):
    rows = served.rows[:3]
    check(served, post(served, INFER, request(rows)))
    check(served, post(served, INFER, {"inputs": [tensor(rows, data=rows)]}))


def test_the_content_type_does_not_matter(served):
    for content_type in ("application/json", "application/json; charset=utf-8", "application/octet-stream", "text/plain"):
        check(served, post(served, INFER, request(served.rows[:1]), Content_Type=content_type))


def test_an_answer_in_json_has_no_length_header(served):
    answer = post(served, INFER, request(served.rows[:1]))
    assert answer.headers["Content-Type"] == "application/json"
    assert LENGTH not in answer.headers
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == (MODEL, VERSION)
    assert {(output["name"], output["datatype"], tuple(output["shape"])) for output in body["outputs"]} == {
        ("label", "INT64", (1,)),
        ("probabilities", "FP32", (1, 3)),
    }


def test_fields_that_are_null_count_as_absent(served):
    inputs = [tensor(served.rows[:1], parameters=None)]
    check(served, post(served, INFER, {"id": None, "parameters": None, "outputs": None, "inputs": inputs}))


def test_a_chunked_body_is_read(served):
    body = json.dumps(request(served.rows[:2])).encode()
    pieces = (body[start : start + 100] for start in range(0, len(body), 100))
    check(served, send(served, "POST", INFER, pieces, {"Transfer-Encoding": "chunked"}, chunked=True))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_bare_non_finite_numbers_are_not_json(served, word):
    body = json.dumps(request(served.rows[:1])).replace(str(served.rows[0][0]), word, 1)
    check_error(post(served, INFER, body), 400, "request.malformed_json")


def test_a_number_beyond_a_double_is_refused(served):
    body = json.dumps(request(served.rows[:1])).replace(str(served.rows[0][0]), "1e400", 1)
    check_error(post(served, INFER, body), 400, "request.number_too_large")


def test_null_is_a_missing_value(served):
    imputed, refused = list(served.rows[0]), list(served.rows[0])
    imputed[12] = None  # close_location: imputed by the manifest
    refused[0] = None  # ret_1d: refused by the manifest
    answer = post(served, INFER, request([imputed]))
    assert answer.status == 200, answer.body
    assert answer.json()["parameters"]["sanitizer_changes"] == 1
    error = check_error(post(served, INFER, request([refused])), 400, "input.missing_value")
    assert "ret_1d" in error["error"] + error.get("field", "")


def test_a_value_out_of_range_is_refused_by_name(served):
    row = list(served.rows[0])
    row[6] = 250.0  # rsi_14 lies in 0 to 100
    error = check_error(post(served, INFER, request([row])), 400, "input.out_of_range")
    assert "rsi_14" in error["error"] + error.get("field", "")


def test_what_does_not_fit_is_refused_by_name(served):
    rows = served.rows[:1]
    for inputs, code, word in [
        ([tensor(rows, name="feature")], "input.unknown", "feature"),
        ([], "input.missing_tensor", "features"),
        ([tensor(rows), tensor(rows)], "input.duplicate", "features"),
        ([tensor(rows, datatype="FP64")], "input.datatype", "FP32"),
        ([tensor(rows, datatype="FLOAT")], "input.datatype", "FP32"),
        ([tensor(rows, shape=[1, 13])], "input.count", "features"),
        ([tensor(rows, shape=[1, 13], data=[0.0] * 13)], "input.shape", "14"),
        ([tensor(rows, shape=[14])], "input.shape", "14"),
        ([tensor(rows, shape=[0, 14], data=[])], "input.rows", "features"),
    ]:
        error = check_error(post(served, INFER, {"inputs": inputs}), 400, code)
        assert word in error["error"] + error.get("field", ""), error
    rows = served.rows[:1] * 1025
    check_error(post(served, INFER, request(rows)), 400, "input.rows")


def test_what_is_no_request_is_refused_by_field(served):
    rows = served.rows[:1]
    for body, code, field in [
        ("", "request.malformed_json", None),
        ("{", "request.malformed_json", None),
        ({}, "request.field_missing", "inputs"),
        ({"inputs": 1}, "request.field_type", "inputs"),
        ({"inputs": [{"name": "features"}]}, "request.field_missing", "inputs[0].shape"),
        (request(rows, inputz=1), "request.unknown_field", "inputz"),
        (request(rows, id=7), "request.field_type", "id"),
        (request(rows, parameters={"symbol": 7}), "request.field_type", "parameters.symbol"),
    ]:
        error = check_error(post(served, INFER, body), 400, code)
        assert error.get("field") == field, error


def test_the_models_name_in_the_body_must_be_the_paths(served):
    # KServe's client always sends it.
    check(served, post(served, INFER, request(served.rows[:1], model_name=MODEL)))
    assert post(served, INFER, request(served.rows[:1], model_name="another")).status == 400


# --- binary tensors


def test_a_binary_request_needs_no_content_type(served):
    body, length = binary_request(served.rows[:2])
    check(served, post(served, INFER, body, **{LENGTH: length}))


def test_a_length_of_0_makes_the_whole_body_one_input(served):
    for rows in (1, 5):
        answer = post(served, INFER, raw(served.rows[:rows]), **{LENGTH: "0"})
        check(served, answer)
        assert int(answer.headers[LENGTH]) > 0, "a raw request is answered with raw outputs"
    ragged = raw(served.rows[:2])[:-4]
    assert post(served, INFER, ragged, **{LENGTH: "0"}).status == 400


def test_outputs_are_binary_where_the_request_says_so(served):
    everything = {"binary_data_output": True}
    answer = post(served, INFER, request(served.rows[:2], parameters=everything))
    check(served, answer)
    assert answer.headers[LENGTH] and answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("own", [True, False])
def test_an_outputs_own_form_wins_over_the_requests(served, own):
    outputs = [{"name": "label", "parameters": {"binary_data": own}}, {"name": "probabilities"}]
    body = request(served.rows[:2], parameters={"binary_data_output": not own}, outputs=outputs)
    answer = post(served, INFER, body)
    check(served, answer)
    described = json.loads(answer.body[: int(answer.headers[LENGTH])])["outputs"]
    assert [output["name"] for output in described] == ["label", "probabilities"]
    assert ["data" in output for output in described] == [not own, own]


def test_an_unknown_output_is_refused(served):
    error = check_error(
        post(served, INFER, request(served.rows[:1], outputs=[{"name": "odds"}])), 400, "request.output_unknown"
    )
    assert "odds" in error["error"] + error.get("field", "")


def test_nan_in_a_raw_tensor_is_a_missing_value(served):
    imputed, refused = list(served.rows[0]), list(served.rows[0])
    imputed[12] = refused[0] = float("nan")
    body, length = binary_request([imputed])
    answer = post(served, INFER, body, **{LENGTH: length})
    assert answer.status == 200, answer.body
    body, length = binary_request([refused])
    check_error(post(served, INFER, body, **{LENGTH: length}), 400, "input.missing_value")


def test_infinity_in_a_raw_tensor_is_refused(served):
    row = list(served.rows[0])
    row[3] = float("inf")
    body, length = binary_request([row])
    answer = post(served, INFER, body, **{LENGTH: length})
    assert answer.status == 400 and answer.json()["code"] in ("input.not_finite", "input.out_of_range"), answer.body


def test_lengths_that_do_not_fit_are_refused(served):
    body, length = binary_request(served.rows[:2])
    for wrong in ("abc", "-1", str(len(body) + 1)):
        check_error(post(served, INFER, body, **{LENGTH: wrong}), 400, "request.header_length")
    for changed in (body[:-4], body + b"\0\0\0\0"):
        check_error(post(served, INFER, changed, **{LENGTH: length}), 400, "input.count")


def test_an_input_has_data_or_raw_data_but_not_both(served):
    rows = served.rows[:1]
    both = {"inputs": [tensor(rows, parameters={"binary_data_size": 4 * COLUMNS})]}
    neither = {"inputs": [{name: value for name, value in tensor(rows).items() if name != "data"}]}
    head = json.dumps(both).encode()
    assert post(served, INFER, head + raw(rows), **{LENGTH: str(len(head))}).status == 400
    check_error(post(served, INFER, neither), 400, "request.field_missing")


# --- compression and size


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_decompression_comes_before_the_split(served, name, compress):
    body, length = binary_request(served.rows[:2])
    headers = {LENGTH: length, "Content_Encoding": name}
    check(served, post(served, INFER, compress(body), **headers))


def test_a_broken_or_unknown_encoding_is_refused(served):
    body = json.dumps(request(served.rows[:1])).encode()
    assert post(served, INFER, body, Content_Encoding="gzip").status == 400
    assert post(served, INFER, gzip.compress(body)[:-12], Content_Encoding="gzip").status == 400
    check_error(post(served, INFER, body, Content_Encoding="br"), 415, "request.encoding_unsupported")


def test_a_small_body_that_grows_past_the_limit_is_refused(served):
    bomb = gzip.compress(b" " * (64 * MIB))
    assert len(bomb) < MIB
    check_error(post(served, INFER, bomb, Content_Encoding="gzip"), 413, "request.too_large")


@pytest.mark.own_server("Lambda takes no payload as large as that; API Gateway refuses it in its own words")
def test_a_body_past_the_limit_is_refused(served):
    check_error(post(served, INFER, b" " * (6 * MIB + 1)), 413, "request.too_large")


# --- ids, receipts, records


def test_a_request_id_is_taken_from_the_body_then_from_the_header_and_else_made(served):
    own, other = f"raw-{uuid.uuid4()}", f"raw-{uuid.uuid4()}"
    rows = served.rows[:1]
    for body, headers, expected in [
        (request(rows, id=own), {}, own),
        (request(rows), {"x_request_id": other}, other),
        (request(rows, id=own), {"x_request_id": other}, own),
    ]:
        answer = post(served, INFER, body, **headers)
        assert answer.headers["x-request-id"] == expected
        assert answer.json()["id"] == expected
    made = post(served, INFER, request(rows))
    assert uuid.UUID(made.headers["x-request-id"]).version == 7


def test_errors_carry_the_request_id(served):
    own = f"raw-{uuid.uuid4()}"
    error = check_error(post(served, INFER, {}, x_request_id=own), 400, "request.field_missing")
    assert error["request_id"] == own
    long = "x" * 5000
    check_error(post(served, INFER, request(served.rows[:1], id=long)), 400, "request.id_invalid")


def test_a_repeated_id_gives_the_recorded_answer(served):
    body = request(served.rows[:2], id=f"raw-{uuid.uuid4()}")
    first, again = post(served, INFER, body), post(served, INFER, body)
    assert first.status == again.status == 200
    assert first.headers["sealcast-receipt"] == again.headers["sealcast-receipt"]
    assert (first.headers["sealcast-replayed"], again.headers["sealcast-replayed"]) == (None, "true")
    assert first.json() == again.json()
    other = {**body, "inputs": [tensor(served.rows[5:7])]}
    check_error(post(served, INFER, other), 409, "request.id_reused")


@pytest.mark.own_server("reads the local stream's file; tests/e2e verifies receipts against the table")
def test_the_receipt_is_the_hash_of_the_durable_record(served):
    answer = post(served, INFER, request(served.rows[:1]))
    stream, seq, leaf_hash = answer.headers["sealcast-receipt"].split(":")
    parameters = answer.json()["parameters"]
    assert (parameters["receipt_stream"], parameters["receipt_seq"]) == (stream, int(seq))
    assert parameters["receipt_leaf_hash"] == leaf_hash
    # Line 0 is the registration; the record is there as soon as the answer is.
    lines = (served.data / "audit" / f"{stream}.jsonl").read_bytes().splitlines()
    line = lines[int(seq) + 1]
    entry = line[len(b'{"entry":') : line.rindex(b',"sig":')]
    assert hashlib.sha256(b"\0" + entry).hexdigest() == leaf_hash
    event = json.loads(entry)
    assert event["kind"] == "prediction"
    assert event["data"]["request_id"] == answer.headers["x-request-id"]
