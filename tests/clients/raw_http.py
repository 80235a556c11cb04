"""Plain HTTP, as the raw tests send and read it."""

import http.client
import json
import struct
from dataclasses import dataclass

import pytest

from conftest import COLUMNS, MODEL, Served

INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"
MIB = 1 << 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def send(served: Served, method: str, path: str, body=None, headers=None, token=True, chunked=False) -> Answer:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=30)
    try:
        given = {**(served.bearer if token else {}), **(headers or {})}
        try:
            path = (served.base if token else served.open_base) + path
            connection.request(method, path, body, given, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            # The server has refused a body before its end: the answer is there to be read.
            pass
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def post(served: Served, path: str, body, **headers) -> Answer:
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(served, "POST", path, body, headers)


def tensor(rows: list[list[float]], **changed) -> dict:
    flat = [value for row in rows for value in row]
    return {"name": "features", "shape": [len(rows), COLUMNS], "datatype": "FP32", "data": flat, **changed}


def request(rows: list[list[float]], **changed) -> dict:
    return {"inputs": [tensor(rows)], **changed}


def raw(rows: list[list[float]]) -> bytes:
    flat = [value for row in rows for value in row]
    return struct.pack(f"<{len(flat)}f", *flat)


def binary_request(rows: list[list[float]], **changed) -> tuple[bytes, str]:
    """A body with a raw tensor, and the length of its JSON."""
    body = raw(rows)
    inputs = [tensor(rows, parameters={"binary_data_size": len(body)})]
    del inputs[0]["data"]
    head = json.dumps({"inputs": inputs, **changed}).encode()
    return head + body, str(len(head))


def read_outputs(answer: Answer) -> dict[str, list]:
    """The outputs, raw ones included."""
    length = int(answer.headers.get(LENGTH, len(answer.body)))
    rest = answer.body[length:]
    outputs = {}
    for output in json.loads(answer.body[:length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[output["name"]] = output["data"]
            continue
        element = {"INT64": "q", "FP32": "f"}[output["datatype"]]
        width = struct.calcsize(f"<{element}")
        outputs[output["name"]] = list(struct.unpack(f"<{size // width}{element}", rest[:size]))
        rest = rest[size:]
    assert rest == b"", "bytes follow the last raw output"
    return outputs


def check(served: Served, answer: Answer, first: int = 0) -> None:
    assert answer.status == 200, answer.body
    outputs = read_outputs(answer)
    served.check(outputs["label"], outputs["probabilities"], first)


def check_error(answer: Answer, status: int, code: str) -> dict:
    """An error in the protocol's form, with our code beside it."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json"), answer.body
    error = answer.json()
    assert isinstance(error["error"], str) and error["error"], error
    assert error["code"] == code, error
    assert error["request_id"] == answer.headers["x-request-id"]
    return error
