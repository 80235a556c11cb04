"""CatBoost, by its own exporter."""

import os
import tempfile

import catboost
import onnx

import rows
from export.entry import model
from export.scikit import TRAINING_ROWS, name_labels, training_rows

GROUP = "catboost"
TRAINED_BY = f"CatBoost {catboost.__version__}"


def boosted(estimator, *, kind="plain", count=0, strings=False, training=TRAINING_ROWS, **fields):
    """A classifier of `count` classes, or a regressor."""
    x = training_rows(kind, training)
    y = rows.classes(x, rows.TRAINING, count) if count else rows.target(x, rows.TRAINING)
    estimator.fit(x, name_labels(y) if strings else y)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        estimator.save_model(path, format="onnx")
        graph = onnx.load(path)
    (given,) = (spec.name for spec in graph.graph.input)
    names = [output.name for output in graph.graph.output]

    def library(inputs):
        asked = inputs[given]
        if count:
            return {names[0]: estimator.predict(asked).ravel(), names[1]: estimator.predict_proba(asked)}
        return {names[0]: estimator.predict(asked)}

    return {
        "family": "oblivious trees",
        "exporter": TRAINED_BY,
        "model": graph,
        "estimator": estimator,
        "rows": {given: kind},
        "library": library,
        "trained_by": TRAINED_BY,
        "flags": "save_model(format='onnx')",
    } | fields


def add(name, kind, *, fields=None, **options):
    """A CatBoost model under `catboost_`."""
    fields = fields or {}
    settings = {"iterations": 20, "depth": 4, "random_seed": 0, "thread_count": 1, "verbose": False} | options
    settings["allow_writing_files"] = False
    model(f"catboost_{name}", GROUP)(lambda: boosted(kind(**settings), **fields))


C, R = catboost.CatBoostClassifier, catboost.CatBoostRegressor
add("binary", C, fields={"count": 2})
add("binary_strings", C, fields={"count": 2, "strings": True})
add("three", C, fields={"count": 3}, iterations=10)
add("three_strings", C, fields={"count": 3, "strings": True}, iterations=10)
add("missing", C, fields={"count": 2, "kind": "missing"})
add("regression", R)
add("regression_missing", R, fields={"kind": "missing"}, nan_mode="Max")
add("poisson", R, loss_function="MAE")
add("deep", R, depth=7, iterations=5)
