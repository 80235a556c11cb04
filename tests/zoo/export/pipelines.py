"""scikit-learn's steps before and around a model: scalers, encoders, imputers, calibration, stacking, voting."""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC

from export.entry import model
from export.scikit import classifier, regressor, table_classifier, transformer

GROUP = "sklearn"
PIPELINE, ENSEMBLE, STEP = "pipeline", "calibrated, stacked, voting", "preprocessing"
TREES = {"n_estimators": 8, "max_depth": 4, "random_state": 0}


def add(name, make):
    model(name, GROUP)(make)


def after(*steps, count=2, **fields):
    """Logistic regression behind steps."""
    return classifier(make_pipeline(*steps, LogisticRegression()), PIPELINE, count=count, **fields)


add("standard_scaler", lambda: after(StandardScaler()))
add("standard_scaler_float64", lambda: after(StandardScaler(), count=3, dtype="float64"))
add("standard_scaler_opset9", lambda: after(StandardScaler(), count=3, opset=9, ml=1))
add("min_max_scaler", lambda: after(MinMaxScaler(clip=True), opset=21))
add("robust_scaler", lambda: after(RobustScaler(), strings=True))
add("max_abs_scaler", lambda: after(MaxAbsScaler()))
add("normalizer_l1", lambda: after(Normalizer("l1")))
add("normalizer_l2", lambda: after(Normalizer("l2")))
add("normalizer_max", lambda: after(Normalizer("max")))
add("binarizer", lambda: after(Binarizer(threshold=0.2)))
add("imputer_mean", lambda: after(SimpleImputer(), StandardScaler(), kind="missing"))
add("imputer_indicator", lambda: after(SimpleImputer(strategy="median", add_indicator=True), kind="missing"))
add("imputer_neighbours", lambda: after(KNNImputer(n_neighbors=3), kind="missing", opset=18))
add("polynomial", lambda: after(PolynomialFeatures(2), kind="few", count=3))
add("bins_one_hot", lambda: after(KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf")))
add("bins_ordinal", lambda: after(KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf")))
add("power_transformer", lambda: after(PowerTransformer()))
add("principal_components", lambda: after(StandardScaler(), PCA(4)))
add("singular_vectors", lambda: after(TruncatedSVD(4), opset=11))
add("select_best", lambda: after(SelectKBest(k=4)))
add("variance_threshold", lambda: after(VarianceThreshold(0.1)))
add("feature_union", lambda: after(FeatureUnion([("pca", PCA(2)), ("scaled", StandardScaler())]), count=3))
add(
    "scaler_forest",
    lambda: classifier(make_pipeline(StandardScaler(), RandomForestClassifier(**TREES)), PIPELINE, count=3),
)
add(
    "imputer_forest_regression",
    lambda: regressor(make_pipeline(SimpleImputer(), RandomForestRegressor(**TREES)), PIPELINE, kind="missing"),
)
add(
    "scaler_support_vectors",
    lambda: classifier(make_pipeline(StandardScaler(), SVC()), PIPELINE, count=3, probabilities=None),
)
add(
    "scaler_perceptron",
    lambda: classifier(
        make_pipeline(StandardScaler(), MLPClassifier((12,), max_iter=40, random_state=0)), PIPELINE, count=3
    ),
)
add("scaler_regression", lambda: regressor(make_pipeline(StandardScaler(), LinearRegression()), PIPELINE))
add("scaler_alone", lambda: transformer(StandardScaler(), STEP))
add("normalizer_alone", lambda: transformer(Normalizer(), STEP))
add("imputer_alone", lambda: transformer(SimpleImputer(strategy="constant", fill_value=-1.0), STEP, kind="missing"))
add("components_alone", lambda: transformer(PCA(3), STEP))
add("one_hot_alone", lambda: transformer(OneHotEncoder(sparse_output=False), STEP, kind="counts"))


def table(columns, *, forest=False):
    """The usual table: encoded strings and integers beside scaled numbers."""
    steps = []
    if "sector" in columns:
        steps.append(
            ("one_hot", OneHotEncoder(handle_unknown="ignore"), [c for c in ("sector", "venue") if c in columns])
        )
    if "grade" in columns:
        steps.append(("grade", OneHotEncoder(handle_unknown="ignore"), ["grade"]))
    steps.append(("numbers", StandardScaler(), [f"few{at}" for at in range(4)]))
    last = RandomForestClassifier(**TREES) if forest else LogisticRegression()
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", last)])


def ordinal_table():
    steps = [
        ("codes", OrdinalEncoder(), ["sector", "venue"]),
        ("numbers", "passthrough", [f"few{at}" for at in range(4)]),
    ]
    return Pipeline(
        [("columns", ColumnTransformer(steps)), ("model", GradientBoostingClassifier(n_estimators=10, random_state=0))]
    )


STRINGS = ("sector", "venue", "few")
add("table_one_hot", lambda: table_classifier(table(STRINGS), PIPELINE, columns=STRINGS))
add("table_one_hot_forest", lambda: table_classifier(table(STRINGS, forest=True), PIPELINE, columns=STRINGS, count=3))
add(
    "table_integers",
    lambda: table_classifier(table(("grade", "few")), PIPELINE, columns=("grade", "few"), count=3, opset=15),
)
add("table_ordinal", lambda: table_classifier(ordinal_table(), PIPELINE, columns=STRINGS))
add(
    "calibrated_sigmoid",
    lambda: classifier(CalibratedClassifierCV(LogisticRegression(), cv=3), ENSEMBLE, count=3),
)
add(
    "calibrated_isotonic",
    lambda: classifier(CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3), ENSEMBLE),
)
add(
    "calibrated_forest",
    lambda: classifier(CalibratedClassifierCV(RandomForestClassifier(**TREES), cv=2), ENSEMBLE, count=3),
)
MIXED = [("forest", RandomForestClassifier(**TREES)), ("linear", LogisticRegression()), ("bayes", GaussianNB())]
add("stacking", lambda: classifier(StackingClassifier(MIXED, cv=3), ENSEMBLE, count=3))
add("stacking_strings", lambda: classifier(StackingClassifier(MIXED[:2], cv=3), ENSEMBLE, strings=True))
add(
    "voting_soft",
    lambda: classifier(VotingClassifier(MIXED, voting="soft", flatten_transform=False), ENSEMBLE, count=3),
)
add(
    "voting_hard",
    lambda: classifier(
        VotingClassifier(MIXED, voting="hard", flatten_transform=False), ENSEMBLE, count=3, probabilities=None
    ),
)
PAIR = [("forest", RandomForestRegressor(**TREES)), ("ridge", Ridge())]
add("stacking_regression", lambda: regressor(StackingRegressor(PAIR, cv=3), ENSEMBLE))
add("voting_regression", lambda: regressor(VotingRegressor(PAIR), ENSEMBLE))
