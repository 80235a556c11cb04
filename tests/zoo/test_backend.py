"""ONNX's backend cases: right or refused, never wrong, and never fewer right than docs/models.md says."""

import pytest

import backend


@pytest.fixture(scope="session")
def results(engine, tmp_path_factory, request):
    found = backend.ask_all(engine, tmp_path_factory.mktemp("cases"))
    if request.config.getoption("--write"):
        backend.write(found)
    return found


def test_no_backend_case_is_answered_wrong(results):
    wrong = [f"{result.name}: {result.reason}" for result in results if result.status == backend.WRONG]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)


def test_every_backend_case_was_asked(results):
    assert len(results) > 1900
    assert sum(result.domain == "ai.onnx.ml" for result in results) >= 8


def test_no_fewer_backend_cases_are_right_than_before(results, request):
    if request.config.getoption("--write"):
        pytest.skip("the counts are being written")
    known = backend.read_right()
    for domain, own in backend.count(results).items():
        assert own[backend.RIGHT] >= known[domain], f"{domain}: {own[backend.RIGHT]} right, {known[domain]} before"


def test_every_case_of_ai_onnx_ml_is_right(results):
    others = {
        r.name: f"{r.status}: {r.reason}" for r in results if r.domain == "ai.onnx.ml" and r.status != backend.RIGHT
    }
    assert not others
