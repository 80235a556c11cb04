"""The API as its callers reach it: signed with IAM credentials, with a token, or with neither."""

import json
from dataclasses import dataclass
from pathlib import Path

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"


@dataclass(frozen=True)
class Gateway:
    """An HTTP API at `url`."""

    url: str

    def signed(self, who: Credentials, method: str, path: str, body=None, headers=None) -> requests.Response:
        """Asks with SigV4."""
        request = AWSRequest(method, self.url + path, data=encode(body), headers=headers or {})
        SigV4Auth(who, "execute-api", REGION).add_auth(request)
        return self.plain(method, path, body, dict(request.headers))

    def with_token(self, token: str, method: str, path: str, body=None, headers=None) -> requests.Response:
        """Asks under /jwt with a bearer token."""
        return self.plain(method, f"/jwt{path}", body, {**(headers or {}), "Authorization": f"Bearer {token}"})

    def plain(self, method: str, path: str, body=None, headers=None) -> requests.Response:
        """Asks without credentials of ours."""
        return requests.request(method, self.url + path, data=encode(body), headers=headers, timeout=60)


def encode(body) -> bytes | str | None:
    return body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)


@dataclass(frozen=True)
class Example:
    """The example's request, and what its model answers to it."""

    request: dict
    rows: list[list[float]]
    labels: list[int]

    @classmethod
    def read(cls, folder: Path) -> "Example":
        answers = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["models"]["spx-direction"]
        lines = (folder / "features.csv").read_text(encoding="utf-8").splitlines()[1:]
        rows = [[float(value) for value in line.split(",")[1:]] for line in lines]
        request = json.loads((folder / "request-v1.json").read_text(encoding="utf-8"))
        return cls(request, rows, answers["labels"])

    def infer(self, rows: int = 1) -> dict:
        """A request of the Open Inference Protocol with the first rows."""
        flat = [value for row in self.rows[:rows] for value in row]
        tensor = {"name": "features", "shape": [rows, len(self.rows[0])], "datatype": "FP32", "data": flat}
        return {"inputs": [tensor]}
