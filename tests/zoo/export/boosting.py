"""XGBoost and LightGBM, by onnxmltools."""

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

import rows
from export.entry import model
from export.scikit import TRAINING_ROWS, training_rows

GROUP = "boosting"
EXPORTER = f"onnxmltools {onnxmltools.__version__}"
XGBOOST, LIGHTGBM = f"XGBoost {xgboost.__version__}", f"LightGBM {lightgbm.__version__}"
BOOSTING = "gradient boosting"


def boosted(
    convert,
    trained_by,
    estimator,
    *,
    kind="plain",
    count=0,
    positive=False,
    opset=15,
    fit=None,
    training=TRAINING_ROWS,
    **fields,
):
    """A classifier of `count` classes, or a regressor."""
    x = training_rows(kind, training)
    y = rows.classes(x, rows.TRAINING, count) if count else rows.target(x, rows.TRAINING)
    if positive:
        y = np.exp(y / 4)
    estimator.fit(x, y, **(fit or {}))
    more = {"zipmap": False} if convert is convert_lightgbm and count else {}
    graph = convert(
        estimator, initial_types=[("features", FloatTensorType([None, x.shape[1]]))], target_opset=opset, **more
    )
    names = [output.name for output in graph.graph.output]

    def library(inputs):
        asked = inputs["features"]
        if count:
            return {names[0]: estimator.predict(asked), names[1]: estimator.predict_proba(asked)}
        return {names[0]: estimator.predict(asked)}

    return {
        "family": BOOSTING,
        "exporter": EXPORTER,
        "model": graph,
        "estimator": estimator,
        "rows": {"features": kind},
        "library": library,
        "trained_by": trained_by,
        "flags": "zipmap=False" if more else "",
    } | fields


def add_xgboost(name, kind, *, fields=None, **options):
    """An XGBoost model under `xgboost_`."""
    fields = fields or {}
    settings = {"n_estimators": 20, "max_depth": 4, "n_jobs": 1, "random_state": 0} | options
    model(f"xgboost_{name}", GROUP)(lambda: boosted(convert_xgboost, XGBOOST, kind(**settings), **fields))


def add_lightgbm(name, kind, *, fields=None, **options):
    """A LightGBM model under `lightgbm_`."""
    fields = fields or {}
    settings = {"n_estimators": 20, "num_leaves": 12, "n_jobs": 1, "random_state": 0, "verbose": -1} | options
    model(f"lightgbm_{name}", GROUP)(lambda: boosted(convert_lightgbm, LIGHTGBM, kind(**settings), **fields))


X, XR = xgboost.XGBClassifier, xgboost.XGBRegressor
add_xgboost("binary", X, fields={"count": 2})
add_xgboost("binary_opset9", X, fields={"count": 2, "opset": 9})
add_xgboost("three", X, fields={"count": 3}, n_estimators=10)
add_xgboost("missing", X, fields={"count": 2, "kind": "missing"})
add_xgboost("three_missing", X, fields={"count": 3, "kind": "missing"}, n_estimators=8)
add_xgboost("base_score", X, fields={"count": 2}, base_score=0.2)
add_xgboost("regression", XR)
add_xgboost("regression_missing", XR, fields={"kind": "missing"})
add_xgboost("poisson", XR, objective="count:poisson", fields={"positive": True})
add_xgboost("tweedie", XR, objective="reg:tweedie", fields={"positive": True})
add_xgboost("logistic_regression", XR, objective="reg:squarederror", base_score=3.0, fields={"positive": True})
add_xgboost("forest", xgboost.XGBRFClassifier, fields={"count": 2})
add_xgboost("deep", XR, max_depth=9, n_estimators=4)

L, LR = lightgbm.LGBMClassifier, lightgbm.LGBMRegressor
CODES = {"fit": {"categorical_feature": [0, 1]}, "kind": "coded"}
add_lightgbm("binary", L, fields={"count": 2})
add_lightgbm("binary_opset9", L, fields={"count": 2, "opset": 9})
add_lightgbm("three", L, fields={"count": 3}, n_estimators=10)
add_lightgbm("missing", L, fields={"count": 2, "kind": "missing"})
add_lightgbm("three_missing", L, fields={"count": 3, "kind": "missing"}, n_estimators=8)
add_lightgbm("categories", L, fields={"count": 2} | CODES, min_data_per_group=5, cat_smooth=1.0)
add_lightgbm("categories_regression", LR, fields=CODES, min_data_per_group=5, cat_smooth=1.0)
add_lightgbm("dart", LR, boosting_type="dart")
add_lightgbm("forest", LR, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7)
add_lightgbm("regression", LR)
add_lightgbm("regression_missing", LR, fields={"kind": "missing"})
add_lightgbm("poisson", LR, objective="poisson", fields={"positive": True})
add_lightgbm("gamma", LR, objective="gamma", fields={"positive": True})
add_lightgbm("quantile", LR, objective="quantile", alpha=0.9)
