"""What every client test needs: where the server is, what it must answer, and how near.

`serve.py` starts the server and sets the variables; see run.sh.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.register_assert_rewrite("raw_http")

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
    token: str
    data: Path
    rows: list[list[float]]
    labels: list[int]
    probabilities: list[list[float]]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

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
    return Served(host, int(port), token, data, rows, answers["labels"], answers["probabilities"])
