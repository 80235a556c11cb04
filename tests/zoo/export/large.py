"""Models of the size that is used, too large to commit."""

import catboost
from onnxmltools import convert_lightgbm, convert_xgboost
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.svm import SVC
from torch import nn

import rows
from export import boosting, oblivious, sequences, torch_export
from export.boosting import LIGHTGBM, XGBOOST, boosted
from export.entry import LARGE, model
from export.scikit import classifier, regressor

MANY = {"training": 4000}


def add(name, make):
    model(name, LARGE)(make)


def forest(trees):
    estimator = RandomForestClassifier(trees, max_depth=8, random_state=0)
    return lambda: classifier(estimator, "forest", count=3, **MANY)


def xgboost(trees):
    return lambda: boosted(
        convert_xgboost, XGBOOST, boosting.XR(n_estimators=trees, max_depth=6, n_jobs=1, random_state=0), **MANY
    )


def lightgbm(kind, **fields):
    settings = {"n_estimators": 500, "num_leaves": 31, "n_jobs": 1, "random_state": 0, "verbose": -1}
    return lambda: boosted(convert_lightgbm, LIGHTGBM, kind(**settings), **MANY, **fields)


def oblivious_trees():
    estimator = catboost.CatBoostRegressor(
        iterations=500, depth=6, random_seed=0, thread_count=1, verbose=False, allow_writing_files=False
    )
    return oblivious.boosted(estimator, **MANY)


def perceptron():
    return nn.Sequential(
        nn.Linear(rows.FEATURES, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3), nn.Softmax(dim=1)
    )


def net(make, names, family, **options):
    return lambda: torch_export.build(make, names, **options) | {"family": family}


class Wide(sequences.Recurrent):
    """A recurrent net of 64 units."""

    def __init__(self, kind):
        super().__init__(kind)
        self.net = kind(rows.CHANNELS, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, 1)


add("large_forest_100", forest(100))
add("large_forest_500", forest(500))
add("large_extra_trees", lambda: regressor(ExtraTreesRegressor(200, max_depth=12, random_state=0), "forest"))
add("large_xgboost_100", xgboost(100))
add("large_xgboost_500", xgboost(500))
add("large_xgboost_1000", xgboost(1000))
add("large_lightgbm_500", lightgbm(boosting.LR))
add("large_lightgbm_500_three", lightgbm(boosting.L, count=3))
add("large_catboost_500", oblivious_trees)
add("large_support_vectors", lambda: classifier(SVC(), "support vectors", count=3, probabilities=None, **MANY))
add("large_perceptron", net(perceptron, ["features"], "net", kind="classes"))
add("large_lstm", net(lambda: Wide(nn.LSTM), ["sequence"], "recurrent"))
add("large_gru", net(lambda: Wide(nn.GRU), ["sequence"], "recurrent"))
