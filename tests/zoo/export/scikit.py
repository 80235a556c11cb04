"""Trains, exports and asks scikit-learn estimators."""

import contextlib

import numpy as np
import skl2onnx
import sklearn
from skl2onnx import to_onnx
from skl2onnx.common import _container as container
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)

import rows
from export.entry import LABELS

TRAINING_ROWS = 600
TRAINED_BY = f"scikit-learn {sklearn.__version__}"
EXPORTER = f"skl2onnx {skl2onnx.__version__}"


def training_rows(kind: str, count: int = TRAINING_ROWS) -> np.ndarray:
    return rows.make(kind, rows.TRAINING, count)


def name_labels(classes: np.ndarray) -> np.ndarray:
    return np.array(LABELS)[classes]


@contextlib.contextmanager
def whole_numbers():
    """skl2onnx puts booleans where ONNX has integers, which protobuf has refused since its version 7."""
    own = container.make_node

    def make_node(*arguments, **attributes):
        for name, value in attributes.items():
            if isinstance(value, list) and any(isinstance(item, (bool, np.bool_)) for item in value):
                attributes[name] = [int(item) for item in value]
        return own(*arguments, **attributes)

    container.make_node = make_node
    try:
        yield
    finally:
        container.make_node = own


def convert(estimator, sample, options, opset, ml, dtype, **more):
    kind = DoubleTensorType if dtype == "float64" else FloatTensorType
    types = [("features", kind([None, sample.shape[1]]))]
    target = {"": opset, "ai.onnx.ml": ml}
    with whole_numbers():
        return to_onnx(estimator, initial_types=types, target_opset=target, options=options, **more)


def classifier(
    estimator,
    family,
    *,
    count=2,
    kind="plain",
    strings=False,
    opset=17,
    ml=3,
    dtype="float32",
    zipmap=False,
    options=None,
    probabilities="predict_proba",
    fit=None,
    training=TRAINING_ROWS,
    **fields,
):
    """A classifier of `count` classes; `options` are skl2onnx's for this estimator."""
    x = training_rows(kind, training)
    y = rows.classes(x, rows.TRAINING, count)
    estimator.fit(x.astype(np.float64), name_labels(y) if strings else y, **(fit or {}))
    own = dict(options or {})
    if zipmap is False and not hasattr(estimator, "predict_proba"):
        zipmap = True  # Such an estimator's converter knows no such option: its scores are no map.
    if zipmap is not True:
        own["zipmap"] = zipmap
    model = convert(estimator, x, {id(estimator): own} if own else None, opset, ml, dtype)
    label, *scores = (output.name for output in model.graph.output)

    def library(inputs):
        asked = inputs["features"].astype(np.float64)
        answers = {label: estimator.predict(asked)}
        if scores and probabilities:
            answers[scores[0]] = getattr(estimator, probabilities)(asked)
        return answers

    flags = ", ".join(f"{key}={value!r}" for key, value in own.items())
    return {
        "family": family,
        "exporter": EXPORTER,
        "model": model,
        "estimator": estimator,
        "rows": {"features": kind},
        "library": library,
        "trained_by": TRAINED_BY,
        "dtype": dtype,
        "flags": flags,
    } | fields


def regressor(
    estimator,
    family,
    *,
    kind="plain",
    targets=1,
    opset=17,
    ml=3,
    dtype="float32",
    positive=False,
    options=None,
    **fields,
):
    """A regressor; `positive` for those that learn counts or amounts."""
    x = training_rows(kind)
    y = rows.target(x, rows.TRAINING)
    if positive:
        y = np.exp(y / 4)
    if targets > 1:
        y = np.stack([y, y**2 / 4][:targets], axis=1)
    estimator.fit(x.astype(np.float64), y)
    model = convert(estimator, x, {id(estimator): options} if options else None, opset, ml, dtype)
    (output,) = (output.name for output in model.graph.output)
    return {
        "family": family,
        "exporter": EXPORTER,
        "model": model,
        "estimator": estimator,
        "rows": {"features": kind},
        "library": lambda inputs: {output: estimator.predict(inputs["features"].astype(np.float64))},
        "trained_by": TRAINED_BY,
        "dtype": dtype,
    } | fields


def transformer(estimator, family, *, kind="plain", opset=17, ml=3, dtype="float32", **fields):
    """A step that gives features."""
    x = training_rows(kind)
    estimator.fit(x.astype(np.float64), rows.classes(x, rows.TRAINING, 2))
    model = convert(estimator, x, None, opset, ml, dtype)
    (output,) = (output.name for output in model.graph.output)

    def library(inputs):
        found = estimator.transform(inputs["features"].astype(np.float64))
        return {output: found.toarray() if hasattr(found, "toarray") else found}

    return {
        "family": family,
        "exporter": EXPORTER,
        "model": model,
        "estimator": estimator,
        "rows": {"features": kind},
        "library": library,
        "trained_by": TRAINED_BY,
        "dtype": dtype,
    } | fields


COLUMN_TYPES = {
    "sector": StringTensorType,
    "venue": StringTensorType,
    "grade": Int64TensorType,
}


def table_classifier(pipeline, family, *, columns, count=2, opset=17, ml=3, **fields):
    """A classifier on several inputs: strings, integers and a block of floats, each an input of its own."""
    import pandas

    def frame(blocks):
        parts = {}
        for name, values in blocks.items():
            if values.shape[1] == 1:
                parts[name] = values[:, 0]
            else:
                parts |= {f"{name}{at}": values[:, at].astype(np.float64) for at in range(values.shape[1])}
        return pandas.DataFrame(parts)

    blocks = {name: training_rows(name) for name in columns}
    y = rows.classes(blocks["few"], rows.TRAINING, count)
    if "sector" in blocks:
        y = np.where(blocks["sector"][:, 0] == "energy", count - 1, y)
    pipeline.fit(frame(blocks), y)
    types = []
    for name in columns:
        if name in COLUMN_TYPES:
            types.append((name, COLUMN_TYPES[name]([None, 1])))
        else:
            types += [(f"{name}{at}", FloatTensorType([None, 1])) for at in range(blocks[name].shape[1])]
    options = {id(pipeline): {"zipmap": False}}
    model = to_onnx(pipeline, initial_types=types, target_opset={"": opset, "ai.onnx.ml": ml}, options=options)
    label, scores = (output.name for output in model.graph.output)
    # One input a column: a block's columns are asked from the block's rows.
    asked = {spec[0]: spec[0] if spec[0] in columns else f"{spec[0][:-1]}[{spec[0][-1]}]" for spec in types}

    def library(inputs):
        table = pandas.DataFrame({name: values[:, 0] for name, values in inputs.items()})
        for name in table.columns:
            if inputs[name].dtype == np.float32:
                table[name] = table[name].astype(np.float64)
        return {label: pipeline.predict(table), scores: pipeline.predict_proba(table)}

    return {
        "family": family,
        "exporter": EXPORTER,
        "model": model,
        "rows": asked,
        "library": library,
        "trained_by": TRAINED_BY,
        "dtype": "mixed",
        "flags": "zipmap=False",
    } | fields
