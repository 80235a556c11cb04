"""Every model of the zoo: right or refused, and never worse than docs/models.md says."""

import warnings

import pytest

import judge
import table

RECORDS = judge.read_zoo()
STATUSES = table.read_statuses()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_model_answers_as_onnxruntime_and_its_library_or_is_refused(record, engine, verdicts, request):
    verdict = verdicts[record["name"]] = judge.judge(engine, record)
    assert verdict.status != judge.WRONG, verdict.reason
    known = STATUSES.get(record["name"])
    if known is None:
        assert request.config.getoption("--write"), "not in docs/models.md: run.sh --write"
        return
    assert judge.RANK[verdict.status] <= judge.RANK[known], f"{known} before; now {verdict.status}: {verdict.reason}"
    if verdict.status != known:
        warnings.warn(
            f"{record['name']} is {verdict.status}, docs/models.md says {known}: run.sh --write", stacklevel=1
        )


@pytest.mark.parametrize("record", judge.read_large(), ids=lambda record: record["name"])
def test_large_model_answers_as_onnxruntime_and_its_library(record, engine):
    verdict = judge.judge(engine, record)
    assert verdict.status == judge.SUPPORTED, verdict.reason


def test_the_table_names_every_model_and_no_other(request):
    if request.config.getoption("--write"):
        pytest.skip("it is being written")
    assert set(STATUSES) == {record["name"] for record in RECORDS}


def test_the_zoo_is_wide_enough():
    assert len(RECORDS) >= 80
    opsets = {record["opset"].get("ai.onnx") for record in RECORDS}
    assert {9, 22} <= opsets
    assert {"float32", "float64", "float16", "int8"} <= {record["dtype"] for record in RECORDS}


def test_every_model_that_its_exporter_changes_is_explained():
    readme = (judge.HERE / "README.md").read_text()
    changed = [record["name"] for record in RECORDS if table.is_changed(record)]
    assert changed
    assert [name for name in changed if f"| `{name}` |" not in readme] == []
