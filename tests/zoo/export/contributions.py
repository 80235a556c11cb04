"""What the package shap says that each feature contributes: path-dependent TreeSHAP, and linear models.

It takes how many training rows came to each node from the library. ONNX does not keep these counts; whoever explains
from the file alone counts them on background rows. Where the background is the rows that the model was trained on, all
with the same weight, both are the same: so for the models here, and not for bootstrapped forests or where a library
counts second derivatives.
"""

import numpy as np
import shap

import rows

EXPLAINED = (
    "tree_binary",
    "tree_regression",
    "extra_trees_three",
    "extra_trees_regression",
    "gradient_boosting_regression",
    "xgboost_regression",
    "xgboost_regression_missing",
    "xgboost_deep",
    "lightgbm_regression",
    "lightgbm_regression_missing",
    "lightgbm_dart",
    "catboost_regression",
    "catboost_deep",
    "linear_regression",
    "linear_regression_two",
    "ridge",
    "logistic_three",
)
ROWS = 64
"""How many of the asked rows are explained."""
BACKGROUND = 600
"""How many training rows there are."""


def explain(estimator, inputs: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Contributions [rows, features, scores] and the expectation of each score, in float64."""
    (asked,) = inputs.values()
    asked = asked[:ROWS]
    if hasattr(estimator, "coef_"):
        background = rows.make(kind, rows.TRAINING, BACKGROUND).astype(np.float64)
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.LinearExplainer(estimator, masker)
        values = explainer.shap_values(asked.astype(np.float64))
    else:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = explainer.shap_values(asked, check_additivity=False)
    contributions = np.asarray(values, dtype=np.float64).reshape(*asked.shape, -1)
    expectation = np.asarray(explainer.expected_value, dtype=np.float64).reshape(-1)
    return {"contributions": contributions, "expectation": expectation}
