"""scikit-learn's linear models."""

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.svm import LinearSVC, LinearSVR

from export.entry import model
from export.scikit import classifier, regressor

GROUP = "sklearn"
LINEAR = "linear"


def add(name, make):
    model(name, GROUP)(make)


add("logistic_binary", lambda: classifier(LogisticRegression(), LINEAR))
add("logistic_binary_opset9", lambda: classifier(LogisticRegression(), LINEAR, opset=9, ml=1))
add("logistic_three", lambda: classifier(LogisticRegression(), LINEAR, count=3, opset=15))
add("logistic_three_strings", lambda: classifier(LogisticRegression(), LINEAR, count=3, strings=True, opset=18))
add("logistic_strings", lambda: classifier(LogisticRegression(), LINEAR, strings=True, opset=21))
add("logistic_float64", lambda: classifier(LogisticRegression(), LINEAR, count=3, dtype="float64"))
add("logistic_zipmap", lambda: classifier(LogisticRegression(), LINEAR, count=3, strings=True, zipmap=True))
add(
    "logistic_zipmap_columns",
    lambda: classifier(LogisticRegression(), LINEAR, count=3, zipmap="columns", probabilities=None),
)
add(
    "logistic_raw_scores",
    lambda: classifier(
        LogisticRegression(), LINEAR, count=3, options={"raw_scores": True}, probabilities="decision_function"
    ),
)
add("one_against_rest", lambda: classifier(OneVsRestClassifier(LogisticRegression()), LINEAR, count=3))
add(
    "one_against_one",
    lambda: classifier(OneVsOneClassifier(LogisticRegression()), LINEAR, count=3, probabilities="decision_function"),
)
add("sgd_classifier", lambda: classifier(SGDClassifier(loss="log_loss", random_state=0), LINEAR, count=3, opset=13))
add("ridge_classifier", lambda: classifier(RidgeClassifier(), LINEAR, count=3, probabilities="decision_function"))
add(
    "linear_svc",
    lambda: classifier(LinearSVC(random_state=0), LINEAR, count=3, probabilities="decision_function"),
)
add("discriminant_linear", lambda: classifier(LinearDiscriminantAnalysis(), LINEAR, count=3))
add("discriminant_quadratic", lambda: classifier(QuadraticDiscriminantAnalysis(), LINEAR, count=3))
add("linear_regression", lambda: regressor(LinearRegression(), LINEAR))
add("linear_regression_opset9", lambda: regressor(LinearRegression(), LINEAR, opset=9, ml=1))
add("linear_regression_float64", lambda: regressor(LinearRegression(), LINEAR, dtype="float64", opset=19))
add("linear_regression_two", lambda: regressor(LinearRegression(), LINEAR, targets=2, opset=12))
add("ridge", lambda: regressor(Ridge(), LINEAR, opset=20))
add("lasso", lambda: regressor(Lasso(alpha=0.05), LINEAR, opset=10))
add("elastic_net", lambda: regressor(ElasticNet(alpha=0.05), LINEAR, opset=11))
add("bayesian_ridge", lambda: regressor(BayesianRidge(), LINEAR))
add("huber", lambda: regressor(HuberRegressor(), LINEAR))
add("sgd_regressor", lambda: regressor(SGDRegressor(random_state=0), LINEAR))
add("linear_svr", lambda: regressor(LinearSVR(random_state=0), LINEAR))
add("poisson", lambda: regressor(PoissonRegressor(), LINEAR, positive=True))
add("gamma", lambda: regressor(GammaRegressor(), LINEAR, positive=True))
add("tweedie", lambda: regressor(TweedieRegressor(power=1.5), LINEAR, positive=True))
