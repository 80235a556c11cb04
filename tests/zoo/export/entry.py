"""Collects models with what onnxruntime and the training library answer, and writes them."""

import dataclasses
import hashlib
import io
import json
import pathlib
import warnings
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime

import rows
from export import contributions

HERE = pathlib.Path(__file__).parent.parent
LARGE = "large"
"""The group that is not committed; it has a folder and a list of its own."""
ROWS = 1024
"""Rows that are asked; the smaller batches are their beginnings."""
BATCHES = (1, 7, 64, ROWS)
LABELS = ("TRADE", "HOLD", "EXIT")

Answers = dict[str, np.ndarray]


@dataclasses.dataclass
class Entry:
    """One model. `library` says what the training library answers, by the name of the output."""

    name: str
    family: str
    exporter: str
    model: onnx.ModelProto
    rows: dict[str, str]
    library: Callable[[dict[str, np.ndarray]], Answers]
    trained_by: str
    dtype: str = "float32"
    flags: str = ""
    tolerance: float = 1e-5
    mend: str = ""
    group: str = ""
    estimator: object = None


ENTRIES: list[tuple[str, str, Callable[[], Entry]]] = []


def model(name: str, group: str):
    """Registers a function that makes an `Entry`'s fields."""

    def register(make: Callable[[], dict]):
        def build() -> Entry:
            return Entry(name=name, group=group, **make())

        if any(name == other for other, _, _ in ENTRIES):
            raise ValueError(f"{name} is there twice")
        ENTRIES.append((name, group, build))
        return make

    return register


def make_inputs(entry: Entry, count: int) -> dict[str, np.ndarray]:
    """What the graph is asked, in its own types."""
    kinds = {spec.name: spec.type.tensor_type.elem_type for spec in entry.model.graph.input}
    inputs = {}
    for name, kind in entry.rows.items():
        values = rows.make(kind, rows.ASKED, count)
        if kinds[name] == onnx.TensorProto.STRING:
            inputs[name] = values.astype(object)
        else:
            inputs[name] = values.astype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name]))
    return inputs


def start(proto: onnx.ModelProto, dtype: str) -> onnxruntime.InferenceSession:
    """One thread, so that sums are taken in one order. int8 as the file says it: fused, softmax cuts off what the file
    rounds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if dtype == "int8":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ask(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> Answers:
    """The answers; a map output as the matrix of its values."""
    answers = {}
    for spec, value in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        if isinstance(value, list):
            value = np.array([list(row.values()) for row in value], dtype=np.float32)
        answers[spec.name] = value
    return answers


def ask_rows(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> Answers:
    """The answers of batches of one: what a row gets that shares its scales with no other."""
    parts = [ask(session, {name: value[at : at + 1] for name, value in inputs.items()}) for at in range(ROWS)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the value or to the root mean square of its column, whichever is larger."""
    found, expected = np.float64(found), np.float64(expected)
    scale = np.maximum(np.abs(expected), np.sqrt(np.mean(expected**2, axis=0)))
    return float(np.max(np.abs(found - expected) / np.where(scale == 0, 1, scale), initial=0.0))


def dtype_name(values: np.ndarray) -> str:
    return "string" if values.dtype == object else str(values.dtype)


def is_number(value: np.ndarray) -> bool:
    return value.dtype.kind == "f"


def compact(value: np.ndarray, tolerance: float) -> np.ndarray:
    """Scores in float32 where that resolves the tolerance, strings with a width."""
    if value.dtype == np.float64 and tolerance > 1e-6:
        return value.astype(np.float32)
    if value.dtype.kind in "OU":
        return value.astype(str).astype("S")
    if value.dtype == np.int64 and np.abs(value).max(initial=0) < 128:
        return value.astype(np.int8)
    return value


def forget_notes(model: onnx.ModelProto) -> None:
    """Drops what an exporter notes about its own run: stack traces with paths of the machine."""
    model.ClearField("doc_string")
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "zoo"  # Some exporters draw it at random.
    parts = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for function in model.functions:
        parts += [function, *function.node]
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")


def check_variety(name: str, answers: Answers) -> None:
    """A model that answers every row the same proves nothing."""
    for key, value in answers.items():
        whole = value.astype(np.float64) if is_number(value) else value.astype(str)
        if len(np.unique(whole, axis=0)) < (5 if is_number(value) else 2):
            raise ValueError(f"{name}: `{key}` hardly depends on the row")


def write(entry: Entry) -> dict:
    """Writes model and references; gives the entry of the zoo's list."""
    folder = HERE / (LARGE if entry.group == LARGE else "models")
    folder.mkdir(exist_ok=True)
    forget_notes(entry.model)
    onnx_bytes = entry.model.SerializeToString()
    (folder / f"{entry.name}.onnx").write_bytes(onnx_bytes)
    inputs = make_inputs(entry, ROWS)
    library = {name: np.asarray(value) for name, value in entry.library(inputs).items()}
    names = [output.name for output in entry.model.graph.output]
    if not set(library) <= set(names) or not library:
        raise ValueError(f"{entry.name}: the library answers {list(library)}, the graph has {names}")
    check_variety(entry.name, library)
    arrays = {f"library.{name}": compact(value, entry.tolerance) for name, value in library.items()}
    record = {
        "name": entry.name,
        "family": entry.family,
        "trained_by": entry.trained_by,
        "exporter": entry.exporter,
        "flags": entry.flags,
        "dtype": entry.dtype,
        "opset": {item.domain or "ai.onnx": item.version for item in entry.model.opset_import},
        "rows": {name: [kind, dtype_name(inputs[name])] for name, kind in entry.rows.items()},
        "tolerance": entry.tolerance,
        "bytes": len(onnx_bytes),
        "inputs_sha256": digest(inputs),
        "group": entry.group,
    }
    if entry.mend:
        record["mend"] = entry.mend
    try:
        session = start(entry.model, entry.dtype)
        answers = ask_rows(session, inputs) if entry.dtype == "int8" else ask(session, inputs)
    except Exception as error:
        # onnxruntime has no common base for what it throws.
        record["onnxruntime_refuses"] = str(error).splitlines()[0][:200]
        answers = None
    if answers is not None:
        arrays |= {
            f"onnxruntime.{name}": compact(np.asarray(value), entry.tolerance) for name, value in answers.items()
        }
        record["batch_spread"] = measure_spread(session, inputs, answers)
        record["onnxruntime_to_library"] = compare_engines(entry.name, answers, library)
    save_archive(folder / f"{entry.name}.npz", arrays)
    if entry.name in contributions.EXPLAINED:
        (kind,) = entry.rows.values()
        explained = contributions.explain(entry.estimator, inputs, kind)
        save_archive(HERE / "contributions" / f"{entry.name}.npz", explained)
    return record


def save_archive(path: pathlib.Path, arrays: Answers) -> None:
    """A .npz with the same bytes for the same arrays: those of np.savez hold the time."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in sorted(arrays.items()):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, value, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def digest(inputs: dict[str, np.ndarray]) -> str:
    """Of the inputs' bits, so that the test knows that it asks the same."""
    own = hashlib.sha256()
    for name, value in inputs.items():
        own.update(name.encode())
        own.update(np.ascontiguousarray(value.astype("S") if value.dtype == object else value).tobytes())
    return own.hexdigest()[:16]


def measure_spread(session, inputs: dict[str, np.ndarray], answers: Answers) -> float:
    """How far onnxruntime's answers for the same rows lie apart between batch sizes."""
    worst = 0.0
    for size in BATCHES:
        for first in (0,) if size > 1 else range(64):
            part = {name: value[first : first + size] for name, value in inputs.items()}
            for name, value in ask(session, part).items():
                if is_number(np.asarray(answers[name])):
                    whole = answers[name]
                    scale = np.sqrt(np.mean(np.float64(whole) ** 2, axis=0))
                    gap = np.abs(np.float64(value) - np.float64(whole[first : first + size]))
                    worst = max(worst, float(np.max(gap / np.where(scale == 0, 1, scale))))
    return float(f"{worst:.3g}")


def compare_engines(name: str, answers: Answers, library: Answers) -> float:
    """The largest deviation of onnxruntime's scores from the library's; labels that differ are told."""
    worst = 0.0
    for key, expected in library.items():
        found = np.asarray(answers[key])
        if found.size != expected.size:
            raise ValueError(f"{name}: `{key}` is {found.shape}, the library's {expected.shape}")
        expected = expected.reshape(found.shape)
        if is_number(found):
            worst = max(worst, deviation(found, expected))
        elif (differ := int(np.sum(found.astype(str) != expected.astype(str)))) > 0:
            warnings.warn(
                f"{name}: {differ} labels of `{key}` differ between onnxruntime and the library", stacklevel=2
            )
    return float(f"{worst:.3g}")


def save_lists(records: list[dict]) -> None:
    """Replaces the records of the same name and keeps the others."""
    save_list(HERE / "zoo.json", [record for record in records if record["group"] != LARGE])
    if large := [record for record in records if record["group"] == LARGE]:
        save_list(HERE / LARGE / "zoo.json", large)


def save_list(path: pathlib.Path, records: list[dict]) -> None:
    known = {record["name"]: record for record in json.loads(path.read_text())} if path.exists() else {}
    known |= {record["name"]: record for record in records}
    order = {name: at for at, (name, _, _) in enumerate(ENTRIES)}
    kept = sorted((record for name, record in known.items() if name in order), key=lambda r: order[r["name"]])
    path.write_text("[\n" + ",\n".join(json.dumps(record) for record in kept) + "\n]\n")
