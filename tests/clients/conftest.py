"""What every client test needs: where the server is, what it must answer, and how near.

`serve.py` starts the server and sets the variables; see run.sh. tests/e2e runs the same tests against the functions
behind API Gateway: there, SEALCAST_BASE is the path under which a token is asked for, SEALCAST_OPEN_BASE the one under
which none is. Tests that are marked `own_server` are left out there, for the reason that they give.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.register_assert_rewrite("raw_http")

BASE = os.environ.get("SEALCAST_BASE", "")
OPEN_BASE = os.environ.get("SEALCAST_OPEN_BASE", "")

MODEL = "spx-direction"
VERSION = "1.0.0"
COLUMNS = 14
TOLERANCE = 1e-5
"""How far a probability may lie from scikit-learn's own: the model computes in 32 bits."""


@dataclass(frozen=True)
class Served:
    """A server that serves the example's release, and what the model answers."""

    host: str
    port: int
    base: str
    open_base: str
    token: str
    data: Path
    rows: list[list[float]]
    labels: list[int]
    probabilities: list[list[float]]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}{self.base}"

    @property
    def open_address(self) -> str:
        """Where health is asked for without a token."""
        return f"{self.host}:{self.port}{self.open_base}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def open_url(self) -> str:
        return f"http://{self.open_address}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def check(self, labels, probabilities, first: int = 0) -> None:
        """Holds flat labels and probabilities of rows from `first` on against scikit-learn's answers."""
        labels, probabilities = list(labels), list(probabilities)
        assert labels, "no row was answered"
        expected = self.probabilities[first : first + len(labels)]
        assert [int(label) for label in labels] == self.labels[first : first + len(labels)]
        assert probabilities == pytest.approx([p for row in expected for p in row], abs=TOLERANCE)


def pytest_configure(config):
    config.addinivalue_line("markers", "own_server(reason): left out where a gateway stands in front")


def pytest_collection_modifyitems(items):
    for item in items if BASE else []:
        if marker := item.get_closest_marker("own_server"):
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))


@pytest.fixture(scope="session")
def served() -> Served:
    example = Path(os.environ["SEALCAST_EXAMPLE"])
    host, port = os.environ["SEALCAST_ADDR"].rsplit(":", 1)
    data = Path(os.environ["SEALCAST_DATA"])
    with open(example / "features.csv", encoding="utf-8", newline="") as file:
        rows = [[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]]
    answers = json.loads((example / "expected.json").read_text(encoding="utf-8"))["models"][MODEL]
    token = (data / "predictor.token").read_text(encoding="utf-8").strip()
    assert len(rows) == len(answers["labels"]) and all(len(row) == COLUMNS for row in rows)
    return Served(host, int(port), BASE, OPEN_BASE, token, data, rows, answers["labels"], answers["probabilities"])
