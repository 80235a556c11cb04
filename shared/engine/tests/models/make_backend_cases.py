"""Writes ONNX's own backend cases for tests/backend.rs: python make_backend_cases.py FOLDER.

Needs onnx. Cases of types that no request has (sequences, bfloat16, 4-bit and 8-bit floats) are left out.
"""

import json
import pathlib
import sys

import numpy as np
from onnx.backend.test.case.node import collect_testcases

KINDS = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "object": "BYTES",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip


def word(item):
    if isinstance(item, bytes):
        return item.decode()
    if isinstance(item, float) and not np.isfinite(item):
        return str(item)
    return item


def write(info, value):
    value = np.asarray(value)
    kind = KINDS.get(str(value.dtype)) or ("BYTES" if value.dtype.kind in "US" else None)
    if kind is None:
        raise TypeError(str(value.dtype))
    return {"name": info.name, "datatype": kind, "shape": list(value.shape), "data": [word(v) for v in value.ravel().tolist()]}


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
count = 0
for case in collect_testcases(None):
    try:
        inputs, outputs = case.data_sets[0]
        graph = case.model.graph
        entry = {
            "inputs": [write(i, v) for i, v in zip(graph.input, inputs, strict=True)],
            "outputs": [write(o, v) for o, v in zip(graph.output, outputs, strict=True)],
            "rtol": case.rtol,
            "atol": case.atol,
        }
        text = json.dumps(entry)
    except (TypeError, ValueError):
        continue
    (folder / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
    (folder / f"{case.name}.json").write_text(text)
    count += 1
print(count, "cases")
