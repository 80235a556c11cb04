"""scikit-learn's other estimators: support vectors, neighbours, naive Bayes, perceptrons, clusters, processes."""

from sklearn.cluster import KMeans
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, RationalQuadratic, WhiteKernel
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from export.entry import model
from export.scikit import EXPORTER, TRAINED_BY, classifier, convert, regressor, training_rows

GROUP = "sklearn"
VECTORS, NEIGHBOURS, BAYES, PERCEPTRON = "support vectors", "neighbours", "naive Bayes", "perceptron"
LAYERS = {"hidden_layer_sizes": (16, 8), "max_iter": 60, "random_state": 0}


def add(name, make):
    model(name, GROUP)(make)


add("svc_rbf", lambda: classifier(SVC(), VECTORS, probabilities=None))
add("svc_three_strings", lambda: classifier(SVC(), VECTORS, count=3, strings=True, probabilities=None))
add("svc_linear", lambda: classifier(SVC(kernel="linear"), VECTORS, count=3, probabilities=None))
add("svc_poly", lambda: classifier(SVC(kernel="poly", degree=2), VECTORS, count=3, probabilities=None, opset=12))
add("svc_sigmoid", lambda: classifier(SVC(kernel="sigmoid"), VECTORS, count=3, probabilities=None))
add("svc_probability", lambda: classifier(SVC(probability=True, random_state=0), VECTORS, count=3))
add("nu_svc", lambda: classifier(NuSVC(nu=0.3), VECTORS, probabilities=None))
add("svr_rbf", lambda: regressor(SVR(), VECTORS))
add("svr_poly", lambda: regressor(SVR(kernel="poly", degree=2), VECTORS))
add("nu_svr", lambda: regressor(NuSVR(), VECTORS, opset=11))
add("neighbours_three", lambda: classifier(KNeighborsClassifier(), NEIGHBOURS, count=3, kind="few"))
add(
    "neighbours_weighted",
    lambda: classifier(KNeighborsClassifier(weights="distance"), NEIGHBOURS, count=3, kind="few"),
)
add("neighbours_regression", lambda: regressor(KNeighborsRegressor(), NEIGHBOURS, kind="few"))
add(
    "neighbours_manhattan",
    lambda: regressor(KNeighborsRegressor(metric="manhattan"), NEIGHBOURS, kind="few", opset=18),
)
add("neighbours_minkowski", lambda: regressor(KNeighborsRegressor(p=3), NEIGHBOURS, kind="few", opset=12))
add(
    "neighbours_distances",
    lambda: classifier(KNeighborsClassifier(), NEIGHBOURS, count=3, kind="few", options={"optim": "cdist"}),
)
add("neighbours_float64", lambda: regressor(KNeighborsRegressor(), NEIGHBOURS, kind="few", dtype="float64"))
add("bayes_gaussian", lambda: classifier(GaussianNB(), BAYES, count=3))
add("bayes_bernoulli", lambda: classifier(BernoulliNB(), BAYES, kind="flags"))
add("bayes_multinomial", lambda: classifier(MultinomialNB(), BAYES, count=3, kind="counts"))
add("bayes_complement", lambda: classifier(ComplementNB(), BAYES, count=3, kind="counts"))
add("perceptron_binary", lambda: classifier(MLPClassifier(**LAYERS), PERCEPTRON))
add("perceptron_three", lambda: classifier(MLPClassifier(activation="tanh", **LAYERS), PERCEPTRON, count=3, opset=20))
add(
    "perceptron_float64",
    lambda: classifier(MLPClassifier(activation="logistic", **LAYERS), PERCEPTRON, count=3, dtype="float64"),
)
add("perceptron_regression", lambda: regressor(MLPRegressor(**LAYERS), PERCEPTRON, opset=14))
add("perceptron_regression_float64", lambda: regressor(MLPRegressor(**LAYERS), PERCEPTRON, dtype="float64"))
add(
    "gaussian_process",
    lambda: regressor(GaussianProcessRegressor(RBF(3.0) + WhiteKernel(0.3)), "gaussian process", kind="few"),
)
add(
    "gaussian_process_quadratic",
    lambda: regressor(
        GaussianProcessRegressor(RationalQuadratic(1.0) + WhiteKernel(3.0), optimizer=None),
        "gaussian process",
        kind="few",
        opset=20,
    ),
)


def scored(estimator, family, answers, *, kind="plain", options=None):
    """An estimator whose graph has outputs of its own; `answers` tells them in the graph's order."""
    x = training_rows(kind)
    estimator.fit(x.astype("float64"))
    graph = convert(estimator, x, {id(estimator): options} if options else None, 17, 3, "float32")
    names = [output.name for output in graph.graph.output]

    def library(inputs):
        asked = inputs["features"].astype("float64")
        return dict(zip(names, answers(estimator, asked), strict=False))

    return {
        "family": family,
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"features": kind},
        "library": library,
        "trained_by": TRAINED_BY,
        "flags": ", ".join(f"{key}={value!r}" for key, value in (options or {}).items()),
    }


add(
    "one_class_svm",
    lambda: scored(OneClassSVM(nu=0.2), "outliers", lambda e, x: (e.predict(x), e.decision_function(x))),
)
add(
    "local_outliers",
    lambda: scored(
        LocalOutlierFactor(novelty=True),
        "outliers",
        lambda e, x: (e.predict(x), e.decision_function(x)),
        kind="few",
    ),
)
add(
    "k_means",
    lambda: scored(
        KMeans(n_clusters=4, n_init=2, random_state=0), "clusters", lambda e, x: (e.predict(x), e.transform(x))
    ),
)
add(
    "gaussian_mixture",
    lambda: scored(
        GaussianMixture(n_components=3, random_state=0), "clusters", lambda e, x: (e.predict(x), e.predict_proba(x))
    ),
)
