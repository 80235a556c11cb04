"""Trains and exports PyTorch modules, by either exporter."""

import io
import os
import tempfile
import warnings

import numpy as np
import onnx
import torch

import rows
from export.entry import model as register
from export.scikit import training_rows

GROUP = "torch"
TRAINED_BY = f"PyTorch {torch.__version__.split('+')[0]}"
STEPS = 60
TYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16}
ROWS = {"features": "plain", "sequence": "sequence", "series": "series", "ids": "ids", "numbers": "few"}
"""What each name of an input is asked."""


def train(module: torch.nn.Module, inputs: list[torch.Tensor], kind: str) -> torch.nn.Module:
    """A few steps: enough that weights and running statistics are not those of the start."""
    first = next(value for value in inputs if value.is_floating_point()).double().numpy()
    if first.ndim == 3:
        first = first[:, -1, :]
    y = rows.target(first, rows.TRAINING)
    labels = torch.from_numpy(rows.classes(first, rows.TRAINING, 3))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    module.train()
    for _ in range(STEPS):
        optimiser.zero_grad()
        found = module(*inputs)
        if kind == "classes":
            loss = torch.nn.functional.nll_loss(torch.log(found + 1e-6), labels)
        else:
            goal = torch.from_numpy(y).to(found.dtype)[:, None].expand_as(found)
            loss = torch.nn.functional.mse_loss(found, goal)
        loss.backward()
        optimiser.step()
    return module.eval()


def export_traced(module, inputs, names, opset) -> onnx.ModelProto:
    """By TorchScript."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs),
            buffer,
            input_names=names,
            output_names=["score"],
            dynamic_axes={name: {0: "rows"} for name in [*names, "score"]},
            opset_version=opset,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def export_dynamo(module, inputs, names, opset) -> onnx.ModelProto:
    """By torch.export and onnxscript."""
    rows_dim = torch.export.Dim("rows", min=2, max=1 << 20)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "model.onnx")
        program = torch.onnx.export(
            module,
            tuple(inputs),
            input_names=names,
            output_names=["score"],
            dynamic_shapes=tuple({0: rows_dim} for _ in inputs),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        program.save(path, external_data=False)
        return onnx.load(path)


EXPORTERS = {
    "TorchScript": (export_traced, "dynamo=False, dynamic_axes"),
    "dynamo": (export_dynamo, "dynamo=True, dynamic_shapes"),
}


def build(make, names, *, exporter="TorchScript", opset=17, dtype="float32", kind="value"):
    """Trains a module in float32, casts it, exports it."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    module = make()
    inputs = [torch.from_numpy(training_rows(ROWS[name])) for name in names]
    train(module, inputs, kind)
    module = module.to(TYPES[dtype])
    inputs = [value.to(TYPES[dtype]) if value.is_floating_point() else value for value in inputs]
    export, flags = EXPORTERS[exporter]
    graph = export(module, [value[:3] for value in inputs], names, opset)

    def library(asked: dict[str, np.ndarray]):
        with torch.no_grad():
            return {"score": module(*(torch.from_numpy(asked[name]) for name in names)).numpy()}

    return {
        "exporter": f"{TRAINED_BY} ({exporter})",
        "model": graph,
        "rows": {name: ROWS[name] for name in names},
        "library": library,
        "trained_by": TRAINED_BY,
        "dtype": dtype,
        "flags": flags,
        "tolerance": 4e-3 if dtype == "float16" else 1e-5,
    }


def add(name, family, make, names=("features",), **options):
    """Registers a module."""
    register(name, GROUP)(lambda: build(make, list(names), **options) | {"family": family})
