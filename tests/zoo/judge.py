"""Asks one model of the zoo at every batch size and judges the answers."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

import compare
import rows
from runner import Crashed, Engine

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "models"
LARGE = HERE / "large"
"""Models too large to commit, where somebody made them: `export.sh large`."""
ROWS = 1024
BATCHES = (1, 7, 64, ROWS)

SUPPORTED, REFUSED, WRONG = "supported", "refused", "wrong"
RANK = {SUPPORTED: 0, REFUSED: 1, WRONG: 2}


@dataclasses.dataclass
class Verdict:
    """What became of a model. Deviations are relative and the largest over all batches; NaN where not compared."""

    status: str
    reason: str = ""
    from_onnxruntime: float = float("nan")
    from_library: float = float("nan")


def read_zoo() -> list[dict]:
    return json.loads((HERE / "zoo.json").read_text())


def read_large() -> list[dict]:
    path = LARGE / "zoo.json"
    return json.loads(path.read_text()) if path.exists() else []


def make_inputs(record: dict) -> dict[str, np.ndarray]:
    """What the model is asked; the same bits as when its references were made."""
    inputs = {}
    own = hashlib.sha256()
    for name, (kind, dtype) in record["rows"].items():
        values = rows.make(kind, rows.ASKED, ROWS)
        values = values.astype("S") if dtype == "string" else values.astype(dtype)
        own.update(name.encode())
        own.update(np.ascontiguousarray(values).tobytes())
        inputs[name] = values
    if own.hexdigest()[:16] != record["inputs_sha256"]:
        raise ValueError(f"{record['name']}: the inputs are not those of the references")
    return inputs


def judge(engine: Engine, record: dict) -> Verdict:
    """Loads, runs and compares."""
    folder = LARGE if record["group"] == "large" else MODELS
    inputs = make_inputs(record)
    runs = [{name: values[:size] for name, values in inputs.items()} for size in BATCHES]
    try:
        report = engine.ask(folder / f"{record['name']}.onnx", runs)
    except Crashed as error:
        return Verdict(WRONG, f"crash: {error}")
    if report["load"] is not None:
        if report["load"]["code"] in ("model.panicked", "model.deadline"):
            return Verdict(WRONG, report["load"]["message"])
        return Verdict(REFUSED, report["load"]["message"])
    with np.load(folder / f"{record['name']}.npz") as archive:
        references = {key: archive[key] for key in archive.files}
    verdict = Verdict(SUPPORTED, "", 0.0, 0.0)
    for size, run in zip(BATCHES, report["runs"], strict=True):
        if "error" in run:
            return Verdict(WRONG, f"batch of {size}: {run['error']}")
        if fault := check_run(record, run["outputs"], references, size, verdict):
            verdict.status, verdict.reason = WRONG, f"batch of {size}: {fault}"
            return verdict
    return verdict


def check_run(record: dict, outputs: dict, references: dict, size: int, verdict: Verdict) -> str:
    """Says what is wrong with one run, and notes the deviations."""
    gaps = {}
    for key, whole in references.items():
        source, name = key.split(".", 1)
        if name not in outputs:
            return f"no output `{name}` among {', '.join(outputs)}"
        found, expected = outputs[name], first_rows(whole, size)
        if source == "library":
            if found.size != expected.size:
                return f"`{name}` has shape {found.shape}, the library's {expected.shape}"
            expected = expected.reshape(found.shape)
        elif found.shape != expected.shape:
            return f"`{name}` has shape {found.shape} for {expected.shape}"
        if expected.dtype.kind == "f":
            sizes = compare.column_sizes(whole.reshape(ROWS, *found.shape[1:]))
            gaps[source, name] = compare.deviation(found, expected, sizes)
            field = f"from_{source}"
            setattr(verdict, field, max(getattr(verdict, field), gaps[source, name]))
        else:
            agreed = references.get(f"onnxruntime.{name}")
            if source == "library" and agreed is not None and compare.differing_labels(agreed, whole):
                # The exporter's loss; onnxruntime's labels are compared exactly.
                continue
            if differing := compare.differing_labels(found, expected):
                return f"{differing} of {size} values of `{name}` are not {source}'s"
    return check_gaps(record, gaps)


def first_rows(whole: np.ndarray, size: int) -> np.ndarray:
    """The first rows; skl2onnx has a graph whose labels lie in one row."""
    return whole[:size] if len(whole) == ROWS else whole[..., :size]


def check_gaps(record: dict, gaps: dict[tuple[str, str], float]) -> str:
    """Holds the scores' deviations to the tolerance."""
    tolerance = record["tolerance"]
    if record["dtype"] == "int8":
        tolerance = max(tolerance, record.get("batch_spread", 0.0))
    apart = 1.01 * record.get("onnxruntime_to_library", 0.0)
    for (source, name), gap in gaps.items():
        # The library's answer is what was trained, so an engine nearer to it than onnxruntime may differ from that.
        # What the exporter lost is no fault of the engine: onnxruntime on the same file is as far off.
        is_trained = gaps.get(("library", name), np.inf) <= tolerance
        if gap > tolerance + (apart if source == "library" or is_trained else 0.0):
            return f"`{name}` is {gap:.2g} from {source}'s"
    return ""
