"""What the tests share: the engine's process, and the verdicts."""

import os
import pathlib

import pytest

import judge
import table
from runner import Engine

PROGRAM = pathlib.Path(os.environ.get("ZOO_BIN", judge.HERE.parent.parent / "target" / "debug" / "examples" / "zoo"))


def pytest_addoption(parser):
    parser.addoption("--write", action="store_true", help="write the tables of docs/models.md")


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    own = Engine(PROGRAM, tmp_path_factory.mktemp("tensors"))
    yield own
    own.close()


@pytest.fixture(scope="session")
def verdicts(request):
    """Filled by the tests, by name; written to the docs at the end where that is asked."""
    found = {}
    yield found
    if request.config.getoption("--write"):
        records = judge.read_zoo()
        if missing := [record["name"] for record in records if record["name"] not in found]:
            pytest.fail(f"--write needs the whole zoo; not asked: {', '.join(missing)}")
        table.write([(record, found[record["name"]]) for record in records])
