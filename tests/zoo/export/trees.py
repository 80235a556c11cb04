"""scikit-learn's trees and ensembles."""

from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from export.entry import model
from export.scikit import EXPORTER, TRAINED_BY, classifier, convert, regressor, training_rows

GROUP = "sklearn"
TREE, FOREST, BOOSTING = "tree", "forest", "gradient boosting"
SMALL = {"n_estimators": 15, "max_depth": 5, "random_state": 0}


def add(name, make):
    model(name, GROUP)(make)


add("tree_binary", lambda: classifier(DecisionTreeClassifier(max_depth=5, random_state=0), TREE))
add(
    "tree_three_strings",
    lambda: classifier(DecisionTreeClassifier(max_depth=6, random_state=0), TREE, count=3, strings=True, opset=21),
)
add("tree_regression", lambda: regressor(DecisionTreeRegressor(max_depth=6, random_state=0), TREE))
add("tree_regression_two", lambda: regressor(DecisionTreeRegressor(max_depth=6, random_state=0), TREE, targets=2))
add(
    "tree_leaf_number",
    lambda: classifier(
        DecisionTreeClassifier(max_depth=5, random_state=0), TREE, count=3, options={"decision_leaf": True}
    ),
)
add(
    "forest_paths",
    lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, options={"decision_path": True}),
)
add("forest_binary", lambda: classifier(RandomForestClassifier(**SMALL), FOREST))
add("forest_three", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3))
add("forest_three_ml1", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, opset=9, ml=1))
add("forest_three_ml5", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, opset=22, ml=5))
add("forest_strings", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, strings=True, opset=13))
add("forest_zipmap", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, strings=True, zipmap=True))
add("forest_missing", lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, kind="missing"))
add(
    "forest_float64",
    lambda: classifier(RandomForestClassifier(**SMALL), FOREST, count=3, dtype="float64", mend="forest_three"),
)
add("forest_regression", lambda: regressor(RandomForestRegressor(**SMALL), FOREST, opset=15))
add("forest_regression_two", lambda: regressor(RandomForestRegressor(**SMALL), FOREST, targets=2))
add(
    "forest_regression_float64",
    lambda: regressor(RandomForestRegressor(**SMALL), FOREST, dtype="float64", mend="forest_regression"),
)
add("extra_trees_three", lambda: classifier(ExtraTreesClassifier(**SMALL), FOREST, count=3))
add("extra_trees_regression", lambda: regressor(ExtraTreesRegressor(**SMALL), FOREST, opset=10, ml=1))
add(
    "bagging",
    lambda: classifier(
        BaggingClassifier(DecisionTreeClassifier(max_depth=5, random_state=0), n_estimators=6, random_state=0),
        FOREST,
        count=3,
    ),
)
add(
    "bagging_regression",
    lambda: regressor(BaggingRegressor(DecisionTreeRegressor(max_depth=5), n_estimators=6, random_state=0), FOREST),
)
add(
    "gradient_boosting_binary",
    lambda: classifier(GradientBoostingClassifier(n_estimators=25, random_state=0), BOOSTING),
)
add(
    "gradient_boosting_three",
    lambda: classifier(GradientBoostingClassifier(n_estimators=12, random_state=0), BOOSTING, count=3),
)
add(
    "gradient_boosting_regression",
    lambda: regressor(GradientBoostingRegressor(n_estimators=30, random_state=0), BOOSTING),
)
add(
    "hist_boosting_binary", lambda: classifier(HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=12), BOOSTING)
)
add(
    "hist_boosting_three",
    lambda: classifier(HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=12), BOOSTING, count=3),
)
add(
    "hist_boosting_missing",
    lambda: classifier(HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=12), BOOSTING, kind="missing"),
)
add(
    "hist_boosting_regression",
    lambda: regressor(HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=12), BOOSTING, kind="missing"),
)
add("ada_boost", lambda: classifier(AdaBoostClassifier(n_estimators=12, random_state=0), BOOSTING, count=3))
add("ada_boost_regression", lambda: regressor(AdaBoostRegressor(n_estimators=8, random_state=0), BOOSTING))


def isolation_forest():
    x = training_rows("plain")
    estimator = IsolationForest(n_estimators=12, max_samples=64, random_state=0).fit(x.astype("float64"))
    graph = convert(estimator, x, None, 17, 3, "float32")
    label, score = (output.name for output in graph.graph.output)

    def library(inputs):
        asked = inputs["features"].astype("float64")
        return {label: estimator.predict(asked), score: estimator.decision_function(asked)}

    return {
        "family": "outliers",
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"features": "plain"},
        "library": library,
        "trained_by": TRAINED_BY,
    }


add("isolation_forest", isolation_forest)
