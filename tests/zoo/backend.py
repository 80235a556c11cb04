"""ONNX's own backend cases (operators, one by one), as the package `onnx` makes them."""

import collections
import dataclasses
import pathlib
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

from runner import Crashed, Engine

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- backend: written by tests/zoo/run.sh --write -->", "<!-- /backend -->"
TYPES = (
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip

RIGHT, REFUSED, NOT_FINITE, WRONG, OTHER = "right", "refused", "not finite", "wrong", "other types"
ABSOLUTE = {"float16": 2e-3}
"""What sums in another order resolve; 2e-6 for the other types."""


@dataclasses.dataclass
class Result:
    """What became of one case."""

    name: str
    domain: str
    status: str
    reason: str = ""


def is_tensor(value) -> bool:
    """True for what a request or an answer may hold."""
    if isinstance(value, (list, dict)) or value is None:
        return False
    value = np.asarray(value)
    return value.dtype.name in TYPES or value.dtype.kind in "OUS"


def collect() -> list:
    """The operators' cases, then the small models that the package holds as files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = list(collect_testcases(None))
    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        for case in sorted(load_model_tests(kind=kind), key=lambda case: case.name):
            case.model = onnx.load(pathlib.Path(case.model_dir) / "model.onnx")
            case.data_sets = [
                (
                    read_tensors(folder, "input", case.model.graph.input),
                    read_tensors(folder, "output", case.model.graph.output),
                )
                for folder in sorted(pathlib.Path(case.model_dir).glob("test_data_set_*"))
            ]
            cases.append(case)
    return cases


def read_tensors(folder: pathlib.Path, word: str, specs) -> list:
    """The tensors of a set; None stands for a value that is no tensor. Initialisers among the inputs have no file."""
    values = []
    for at, spec in enumerate(specs):
        path = folder / f"{word}_{at}.pb"
        if path.exists():
            is_tensor_spec = spec.type.WhichOneof("value") == "tensor_type"
            values.append(numpy_helper.to_array(onnx.load_tensor(path)) if is_tensor_spec else None)
    return values


def ask_all(engine: Engine, folder: pathlib.Path) -> list[Result]:
    """Every case."""
    return [ask_case(engine, folder, case) for case in collect()]


def ask_case(engine: Engine, folder: pathlib.Path, case) -> Result:
    graph = case.model.graph
    domain = "ai.onnx.ml" if any(node.domain == "ai.onnx.ml" for node in graph.node) else "ai.onnx"
    result = Result(case.name, domain, RIGHT)
    if not all(is_tensor(value) for given, expected in case.data_sets for value in (*given, *expected)):
        result.status = OTHER
        return result
    path = folder / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    stored = {tensor.name for tensor in graph.initializer}
    names = [spec.name for spec in graph.input if spec.name not in stored]
    runs = [dict(zip(names, map(np.asarray, given), strict=True)) for given, _ in case.data_sets]
    try:
        report = engine.ask(path, runs)
    except Crashed as error:
        result.status, result.reason = WRONG, f"crash: {error}"
        return result
    if report["load"] is not None:
        result.status, result.reason = REFUSED, f"{report['load']['code']}: {report['load']['message']}"
        return result
    for run, (_, expected) in zip(report["runs"], case.data_sets, strict=True):
        if "error" in run:
            result.status, result.reason = REFUSED, f"run: {run['error']}"
            return result
        wanted = dict(zip((spec.name for spec in graph.output), expected, strict=True))
        for name, value in wanted.items():
            status, reason = compare(run["outputs"].get(name), np.asarray(value), case.rtol, case.atol)
            if status != RIGHT:
                result.status, result.reason = status, f"`{name}`: {reason}"
                return result
    return result


def compare(found: np.ndarray | None, expected: np.ndarray, relative: float, absolute: float) -> tuple[str, str]:
    """As numpy.allclose does, NaN equal to NaN."""
    if found is None:
        return WRONG, "there is no such output"
    if found.shape != expected.shape:
        return WRONG, f"shape {found.shape} for {expected.shape}"
    if expected.dtype.kind in "OUS":
        same = np.char.decode(found, "utf-8") == expected.astype(str)
        return (RIGHT, "") if np.all(same) else (WRONG, f"{found} for {expected}")
    if found.dtype != expected.dtype:
        return WRONG, f"{found.dtype} for {expected.dtype}"
    if expected.dtype.kind != "f":
        return (RIGHT, "") if np.array_equal(found, expected) else (WRONG, f"{first_gap(found, expected)}")
    absolute = max(absolute, ABSOLUTE.get(expected.dtype.name, 2e-6))
    close = np.isclose(found.astype(np.float64), expected.astype(np.float64), relative, absolute, equal_nan=True)
    if close.all():
        return RIGHT, ""
    if np.isfinite(expected).all() and not np.isfinite(found[~close]).any():
        # The output contract refuses such an answer: wrong, but never silently.
        return NOT_FINITE, first_gap(found, expected)
    return WRONG, first_gap(found, expected)


def first_gap(found: np.ndarray, expected: np.ndarray) -> str:
    differ = ~np.isclose(found.astype(np.float64), expected.astype(np.float64), 1e-3, 1e-6, equal_nan=True)
    at = tuple(np.argwhere(differ)[0]) if differ.any() else ()
    return f"{found[at]} for {expected[at]} at {[int(place) for place in at]}, {int(differ.sum())} of {differ.size}"


def count(results: list[Result]) -> dict[str, collections.Counter]:
    """By domain, then by status."""
    counts = {"ai.onnx": collections.Counter(), "ai.onnx.ml": collections.Counter()}
    for result in results:
        counts[result.domain][result.status] += 1
    return counts


def write(results: list[Result]) -> None:
    """The counts, between the marks of docs/models.md."""
    lines = [
        "| Cases of | right | refused | NaN, which the output contract refuses | wrong | of types no request has |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for domain, own in count(results).items():
        numbers = [own[status] for status in (RIGHT, REFUSED, NOT_FINITE, WRONG, OTHER)]
        lines.append(f"| `{domain}` | " + " | ".join(str(number) for number in numbers) + " |")
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def read_right() -> dict[str, int]:
    """The committed count of right cases, by domain."""
    _, rest = DOCS.read_text().split(BEGIN)
    table, _ = rest.split(END)
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): int(cells[2]) for cells in rows}
