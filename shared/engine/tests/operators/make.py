"""Makes cases.json for tests/operators.rs: one-node models of ai.onnx.ml with what onnxruntime answers on them.

Needs onnx, onnxruntime and numpy; run it in this folder:
    python make.py
One thread. A case that onnxruntime refuses is left out, with a note on the terminal.
"""

import itertools
import json
import math
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).parent
CASES = {}
KINDS = {np.dtype(np.float32): T.FLOAT, np.dtype(np.float64): T.DOUBLE, np.dtype(np.int64): T.INT64, np.dtype(np.int32): T.INT32, np.dtype(object): T.STRING}
WORDS = {T.FLOAT: "FP32", T.DOUBLE: "FP64", T.INT64: "INT64", T.INT32: "INT32", T.STRING: "BYTES"}
NAN, INF = math.nan, math.inf


def word(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def write(name, value):
    return {"name": name, "datatype": WORDS[KINDS[value.dtype]], "shape": list(value.shape), "data": [word(v) for v in value.ravel().tolist()]}


def case(name, operator, inputs, outputs, opset=1, **attributes):
    """Adds a case: `inputs` are arrays, `outputs` are (type, rank)."""
    assert name not in CASES, name
    names = [f"X{at}" for at in range(len(inputs))]
    dims = lambda x: [None, *x.shape[1:]] if x.ndim > 1 or x.dtype == object else list(x.shape)
    values = [helper.make_tensor_value_info(n, KINDS[x.dtype], dims(x)) for n, x in zip(names, inputs)]
    results = [helper.make_tensor_value_info(f"Y{at}", kind, [None] * rank) for at, (kind, rank) in enumerate(outputs)]
    node = helper.make_node(operator, names, [r.name for r in results], name="node", domain="ai.onnx.ml", **attributes)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
    model = helper.make_model(helper.make_graph([node], "g", values, results), opset_imports=sets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(zip(names, inputs)))
    except Exception as error:
        print("left out", name, str(error).replace("\n", " ")[-300:])
        return
    CASES[name] = {
        "model": model.SerializeToString().hex(),
        "inputs": [write(n, x) for n, x in zip(names, inputs)],
        "outputs": [write(r.name, np.asarray(y)) for r, y in zip(results, found)],
    }


def text(*words):
    return np.array(words, dtype=object)


def numbers(seed=3, shape=(5, 4), special=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 2
    if special:
        x.ravel()[:4] = [NAN, INF, -INF, -0.0]
    return x


def preprocessing():
    for kind in [np.float32, np.float64, np.int64, np.int32]:
        n = np.dtype(kind).name
        x = numbers().astype(kind)
        case(f"scaler_{n}", "Scaler", [x], [(T.FLOAT, 2)], offset=[1.0, -0.5, 0.1, 2.0], scale=[0.5, 2.0, 0.3, -1.0])
        case(f"scaler_one_{n}", "Scaler", [x], [(T.FLOAT, 2)], offset=[0.3], scale=[1.7])
        for norm in ["MAX", "L1", "L2"]:
            case(f"normalizer_{norm}_{n}", "Normalizer", [x], [(T.FLOAT, 2)], norm=norm)
        case(f"binarizer_{n}", "Binarizer", [x], [(T.FLOAT, 2)], threshold=0.5)
        case(f"onehot_{n}", "OneHotEncoder", [x], [(T.FLOAT, 3)], cats_int64s=[-1, 0, 2, 3], zeros=1)
    special = numbers(special=True).astype(np.float32)
    case("scaler_special", "Scaler", [special], [(T.FLOAT, 2)], offset=[0.5], scale=[2.0])
    case("scaler_row", "Scaler", [special[1]], [(T.FLOAT, 1)], offset=[1.0, -0.5, 0.1, 2.0], scale=[0.5, 2.0, 0.3, -1.0])
    case("binarizer_special", "Binarizer", [special], [(T.FLOAT, 2)], threshold=0.0)
    zero = np.array([[0, 0, 0], [-1, -2, 0], [-3, 4, 0], [1e-30, 0, 0], [1e30, 1e30, 0]], dtype=np.float32)
    for norm in ["MAX", "L1", "L2"]:
        case(f"normalizer_{norm}_zero", "Normalizer", [zero], [(T.FLOAT, 2)], norm=norm)
        case(f"normalizer_{norm}_special", "Normalizer", [special], [(T.FLOAT, 2)], norm=norm)
        case(f"normalizer_{norm}_row", "Normalizer", [zero[2]], [(T.FLOAT, 1)], norm=norm)
    holes = np.array([[NAN, 1, 7], [2, NAN, 0], [0, -0.0, NAN], [INF, 7, 7]], dtype=np.float32)
    for replaced, key in [(NAN, "nan"), (0.0, "zero"), (7.0, "seven"), (INF, "inf")]:
        case(f"imputer_{key}", "Imputer", [holes], [(T.FLOAT, 2)], imputed_value_floats=[1.5, 2.5, NAN], replaced_value_float=replaced)
        case(f"imputer_one_{key}", "Imputer", [holes], [(T.FLOAT, 2)], imputed_value_floats=[-3.0], replaced_value_float=replaced)
    case("imputer_row", "Imputer", [holes[1]], [(T.FLOAT, 1)], imputed_value_floats=[1.5, 2.5, 3.5], replaced_value_float=NAN)
    case("imputer_int64", "Imputer", [np.array([[1, 2], [0, 7], [7, 7]])], [(T.INT64, 2)], imputed_value_int64s=[10, 20], replaced_value_int64=7)
    case("imputer_int64_default", "Imputer", [np.array([[1, 2], [0, 7], [7, 0]])], [(T.INT64, 2)], imputed_value_int64s=[10])
    case("onehot_text", "OneHotEncoder", [text("a", "b", "zz", "a", "").reshape(5, 1)], [(T.FLOAT, 3)], cats_strings=["b", "a", "c"], zeros=1)
    case("onehot_text_row", "OneHotEncoder", [text("a", "b")], [(T.FLOAT, 2)], cats_strings=["b", "a", "c"], zeros=0)
    case("onehot_int_row", "OneHotEncoder", [np.array([3, 1, 1])], [(T.FLOAT, 2)], cats_int64s=[1, 3])
    case("category_text", "CategoryMapper", [text("a", "q", "b")], [(T.INT64, 1)], cats_strings=["a", "b"], cats_int64s=[5, 6])
    case("category_text_default", "CategoryMapper", [text("a", "q", "b")], [(T.INT64, 1)], cats_strings=["a", "b"], cats_int64s=[5, 6], default_int64=9)
    case("category_int", "CategoryMapper", [np.array([[5, 7], [6, 5]])], [(T.STRING, 2)], cats_strings=["a", "b"], cats_int64s=[5, 6])
    case("category_int_default", "CategoryMapper", [np.array([5, 7])], [(T.STRING, 1)], cats_strings=["a", "b"], cats_int64s=[5, 6], default_string="none")


def encoders():
    case("label_1_text", "LabelEncoder", [text("a", "q", "b")], [(T.INT64, 1)], classes_strings=["b", "a"])
    case("label_1_int", "LabelEncoder", [np.array([[1, 0], [2, -1]])], [(T.STRING, 2)], classes_strings=["b", "a"])
    keys = {"strings": ["a", "b", "c"], "int64s": [1, -2, 3], "floats": [1.5, NAN, 0.0]}
    rows = {"strings": text("b", "zz", "a", ""), "int64s": np.array([3, 1, 0, -2]), "floats": np.array([1.5, 0.0, -0.0, 2.0, NAN, INF], np.float32)}
    values = {"strings": ["x", "y", "z"], "int64s": [10, 20, 30], "floats": [0.25, NAN, -1.0]}
    kinds = {"strings": T.STRING, "int64s": T.INT64, "floats": T.FLOAT}
    defaults = {"strings": {"default_string": "none"}, "int64s": {"default_int64": 99}, "floats": {"default_float": 0.5}}
    for a, b in itertools.product(keys, keys):
        for opset in (2, 4):
            if opset == 2 and a == "floats":  # a NaN key, which nothing equals before version 4
                keys[a] = [1.5, 2.5, 0.0]
            else:
                keys["floats"] = [1.5, NAN, 0.0]
            attributes = {f"keys_{a}": keys[a], f"values_{b}": values[b]}
            case(f"label_{opset}_{a}_{b}", "LabelEncoder", [rows[a]], [(kinds[b], 1)], opset, **attributes)
            case(f"label_{opset}_{a}_{b}_default", "LabelEncoder", [rows[a]], [(kinds[b], 1)], opset, **attributes, **defaults[b])
    tensor = lambda v, t: helper.make_tensor("t", t, [len(v)], v)
    tensors = {T.STRING: [b"a", b"b", b"c"], T.INT64: [1, -2, 3], T.FLOAT: [1.5, NAN, 0.0], T.DOUBLE: [1.1, NAN, 0.0]}
    given = {T.STRING: text("b", "zz"), T.INT64: np.array([3, 0]), T.FLOAT: np.array([1.5, NAN, -0.0, 9], np.float32), T.DOUBLE: np.array([1.1, NAN, -0.0, 9])}
    fallback = {T.STRING: [b"none"], T.INT64: [7], T.FLOAT: [0.5], T.DOUBLE: [0.1]}
    for a, b in itertools.product(tensors, tensors):
        attributes = {"keys_tensor": tensor(tensors[a], a), "values_tensor": tensor(tensors[b], b)}
        case(f"label_4_tensor_{WORDS[a]}_{WORDS[b]}", "LabelEncoder", [given[a]], [(b, 1)], 4, **attributes)
        case(f"label_4_tensor_{WORDS[a]}_{WORDS[b]}_default", "LabelEncoder", [given[a]], [(b, 1)], 4, **attributes, default_tensor=tensor(fallback[b], b))


def shapes():
    x = numbers()
    for kind in [np.float32, np.float64, np.int64, np.int32]:
        n = np.dtype(kind).name
        v = x.astype(kind)
        case(f"features_{n}", "FeatureVectorizer", [v, v[:, :2].astype(np.float32)], [(T.FLOAT, 2)], inputdimensions=[4, 2])
        case(f"features_uneven_{n}", "FeatureVectorizer", [v, v], [(T.FLOAT, 2)], inputdimensions=[6, 3])
        case(f"extract_{n}", "ArrayFeatureExtractor", [v, np.array([3, 0, 0])], [(KINDS[v.dtype], 2)])
        case(f"extract_deep_{n}", "ArrayFeatureExtractor", [v.reshape(5, 2, 2), np.array([1])], [(KINDS[v.dtype], 3)])
        case(f"extract_row_{n}", "ArrayFeatureExtractor", [v[0], np.array([2, 1])], [(KINDS[v.dtype], 2)])
    case("features_row", "FeatureVectorizer", [x[0].astype(np.float32), x[1, :2].astype(np.float32)], [(T.FLOAT, 2)], inputdimensions=[4, 2])
    case("features_deep", "FeatureVectorizer", [x.astype(np.float32).reshape(5, 2, 2)], [(T.FLOAT, 2)], inputdimensions=[4])
    case("extract_text", "ArrayFeatureExtractor", [text("a", "b", "c").reshape(1, 3), np.array([2, 0])], [(T.STRING, 2)])
    case("extract_indices_matrix", "ArrayFeatureExtractor", [x, np.array([[3], [0]])], [(T.DOUBLE, 2)])
    case("extract_column", "ArrayFeatureExtractor", [np.array([4, 5, 6]), np.array([[1], [2]])], [(T.INT64, 2)])


POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]


def linear():
    x = np.vstack([numbers(), np.zeros((1, 4))])
    rng = np.random.default_rng(5)
    for targets, post in itertools.product([1, 3], POSTS):
        scale = 0.05 if post == "PROBIT" else 1.0
        attributes = {"coefficients": (rng.normal(size=targets * 4) * scale).tolist(), "targets": targets, "post_transform": post}
        for key, intercepts in [("", []), ("_base", (0.5 + 0.1 * rng.normal(size=targets)).tolist())]:
            extra = {"intercepts": intercepts} if intercepts else {}
            case(f"linear_{targets}_{post}{key}".lower(), "LinearRegressor", [x.astype(np.float32)], [(T.FLOAT, 2)], **attributes, **extra)
    case("linear_row", "LinearRegressor", [x[0].astype(np.float32)], [(T.FLOAT, 2)], coefficients=[1.0, 2.0, 3.0, 4.0], intercepts=[0.25])
    for scores, post, labels in itertools.product([1, 2, 3], POSTS, ["int", "text", "one"]):
        count = max(scores, 2) if labels != "one" else 1
        if labels == "one" and scores > 1:
            continue
        if scores == 1 and post == "PROBIT":  # the second score is whatever the memory held
            continue
        scale = 0.05 if post == "PROBIT" else 1.0
        names = {"classlabels_strings": ["sell", "hold", "buy"][:count]} if labels == "text" else {"classlabels_ints": [10, -20, 30][:count]}
        attributes = {"coefficients": (rng.normal(size=scores * 4) * scale).tolist(), "intercepts": (rng.random(scores) * 0.5).tolist(), "post_transform": post}
        kind = T.STRING if labels == "text" else T.INT64
        case(f"classes_{scores}_{post}_{labels}".lower(), "LinearClassifier", [x.astype(np.float32)], [(kind, 1), (T.FLOAT, 2)], **attributes, **names)
    case("classes_one_text", "LinearClassifier", [x.astype(np.float32)], [(T.STRING, 1), (T.FLOAT, 2)], coefficients=[1.0, -1.0, 0.5, 2.0], intercepts=[0.0], classlabels_strings=["only"])
    for kind in [np.float64, np.int64, np.int32]:
        case(f"classes_{np.dtype(kind).name}", "LinearClassifier", [x.astype(kind)], [(T.INT64, 1), (T.FLOAT, 2)], coefficients=rng.normal(size=12).tolist(), intercepts=[0.1, 0.2, 0.3], classlabels_ints=[0, 1, 2], post_transform="SOFTMAX")
    case("classes_multi", "LinearClassifier", [x.astype(np.float32)], [(T.INT64, 1), (T.FLOAT, 2)], coefficients=rng.normal(size=12).tolist(), intercepts=[0.1, 0.2, 0.3], classlabels_ints=[0, 1, 2], post_transform="LOGISTIC", multi_class=1)
    case("classes_row", "LinearClassifier", [x[0].astype(np.float32)], [(T.INT64, 1), (T.FLOAT, 2)], coefficients=rng.normal(size=8).tolist(), intercepts=[0.1, 0.2], classlabels_ints=[0, 1])
    case("classes_tie", "LinearClassifier", [x.astype(np.float32)], [(T.INT64, 1), (T.FLOAT, 2)], coefficients=[0.0] * 12, intercepts=[0.5, 0.5, 0.5], classlabels_ints=[4, 5, 6])
    case("classes_nan", "LinearClassifier", [numbers(special=True).astype(np.float32)], [(T.INT64, 1), (T.FLOAT, 2)], coefficients=rng.normal(size=12).tolist(), intercepts=[0.1, 0.2, 0.3], classlabels_ints=[0, 1, 2])


def support():
    rng = np.random.default_rng(11)
    x = np.vstack([numbers(), np.zeros((1, 4))])
    params = {"LINEAR": [], "RBF": [0.3, 0.0, 3.0], "POLY": [0.2, 0.5, 3.0], "SIGMOID": [0.1, 0.2, 3.0]}
    for kernel in params:
        vectors = rng.normal(size=(6, 4))
        base = {"kernel_type": kernel, "kernel_params": params[kernel] or [0.0, 0.0, 0.0], "support_vectors": vectors.ravel().tolist(), "n_supports": 6}
        for post, one in itertools.product(POSTS, [0, 1]):
            scale = 0.02 if post == "PROBIT" else 1.0
            attributes = base | {"coefficients": (rng.normal(size=6) * scale).tolist(), "rho": [0.4], "post_transform": post, "one_class": one}
            case(f"svr_{kernel}_{post}_{one}".lower(), "SVMRegressor", [x.astype(np.float32)], [(T.FLOAT, 2)], **attributes)
    case("svr_lines", "SVMRegressor", [x.astype(np.float32)], [(T.FLOAT, 2)], kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0], coefficients=[1.0, -2.0, 0.5, 0.25], rho=[0.1], n_supports=0)
    case("svr_float64", "SVMRegressor", [x], [(T.FLOAT, 2)], kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0], coefficients=[1.0, -2.0, 0.5, 0.25], rho=[0.1], n_supports=0)
    for kernel, classes, post, proba, positive, is_text in itertools.product(params, [2, 3, 4], POSTS, [False, True], [False, True], [False, True]):
        if (kernel != "RBF" and (post != "NONE" or is_text)) or (positive and (kernel != "RBF" or classes > 2)):
            continue
        if is_text and post in ("PROBIT", "SOFTMAX_ZERO"):
            continue
        if post == "PROBIT" and classes == 2 and not proba:  # the second score is whatever the memory held
            continue
        each = [3, 2, 4, 1][:classes]
        count, pairs = sum(each), classes * (classes - 1) // 2
        coefficients = rng.normal(size=(classes - 1) * count)
        if positive:
            coefficients = np.abs(coefficients)
        if post == "PROBIT":
            coefficients *= 0.05
        attributes = {
            "kernel_type": kernel, "kernel_params": params[kernel] or [0.0, 0.0, 0.0], "support_vectors": rng.normal(size=count * 4).tolist(),
            "vectors_per_class": each, "coefficients": coefficients.tolist(), "rho": (rng.normal(size=pairs) * 0.1).tolist(), "post_transform": post,
        }  # fmt: skip
        if post == "PROBIT":
            attributes["rho"] = [0.4] * pairs
        if proba:
            attributes |= {"prob_a": (-1 - rng.random(pairs)).tolist(), "prob_b": (rng.normal(size=pairs) * 0.1).tolist()}
        attributes |= {"classlabels_strings": ["a", "b", "c", "d"][:classes]} if is_text else {"classlabels_ints": [7, 8, 9, 11][:classes]}
        name = f"svc_{kernel}_{classes}_{post}{'_proba' if proba else ''}{'_positive' if positive else ''}{'_text' if is_text else ''}"
        case(name.lower(), "SVMClassifier", [x.astype(np.float32)], [(T.STRING if is_text else T.INT64, 1), (T.FLOAT, 2)], **attributes)
    for classes, post, rhos, positive in itertools.product([2, 3], POSTS, [1, 3], [False, True]):
        if rhos > 1 and classes != 3:
            continue
        scale = 0.05 if post == "PROBIT" else 0.4
        coefficients = rng.normal(size=classes * 4) * scale
        attributes = {"kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 0.0], "coefficients": (np.abs(coefficients) if positive else coefficients).tolist(), "rho": ([0.3, 0.2, 0.1][:rhos]), "post_transform": post, "classlabels_ints": [7, 8, 9][:classes]}
        case(f"svc_lines_{classes}_{post}_{rhos}{'_positive' if positive else ''}".lower(), "SVMClassifier", [x.astype(np.float32)], [(T.INT64, 1), (T.FLOAT, 2)], **attributes)
    for kind in [np.float64, np.int64, np.int32]:
        attributes = {"kernel_type": "RBF", "kernel_params": [0.3, 0.0, 3.0], "support_vectors": rng.normal(size=20).tolist(), "vectors_per_class": [3, 2], "coefficients": rng.normal(size=5).tolist(), "rho": [0.1], "classlabels_ints": [0, 1]}
        case(f"svc_{np.dtype(kind).name}", "SVMClassifier", [x.astype(kind)], [(T.INT64, 1), (T.FLOAT, 2)], **attributes)


def forest(seed, trees, depth, features, targets, kind, modes, members):
    """A random TreeEnsemble of ai.onnx.ml 5."""
    rng = np.random.default_rng(seed)
    a = {k: [] for k in ["featureids", "splits", "modes", "truenodeids", "trueleafs", "falsenodeids", "falseleafs", "missing_value_tracks_true"]}
    leaf_targets, leaf_weights, member_values, roots, sets = [], [], [], [], {}

    def grow(level):
        """The id of a new branch or leaf, and whether it is a leaf."""
        if level == depth or (level > 0 and rng.random() < 0.2):
            leaf_targets.append(int(rng.integers(targets)))
            leaf_weights.append(float(rng.normal()))
            return len(leaf_weights) - 1, 1
        at = len(a["modes"])
        mode = int(rng.choice(modes))
        for key, value in [("featureids", int(rng.integers(features))), ("splits", float(rng.integers(-3, 4)) / 2), ("modes", mode), ("missing_value_tracks_true", int(rng.integers(2)))]:
            a[key].append(value)
        for key in ["truenodeids", "trueleafs", "falsenodeids", "falseleafs"]:
            a[key].append(0)
        if mode == 6:
            sets[at] = rng.choice(np.arange(1, 6), size=int(rng.integers(1, members + 1)), replace=False).astype(float).tolist()
        a["truenodeids"][at], a["trueleafs"][at] = grow(level + 1)
        a["falsenodeids"][at], a["falseleafs"][at] = grow(level + 1)
        return at, 0

    for _ in range(trees):
        roots.append(grow(0)[0])
    for at in sorted(sets):
        member_values += sets[at] + [NAN]
    array = lambda v, dtype: numpy_helper.from_array(np.array(v, dtype=dtype))
    attributes = {f"nodes_{k}": v for k, v in a.items() if k not in ("splits", "modes")}
    attributes |= {"nodes_splits": array(a["splits"], kind), "nodes_modes": array(a["modes"], np.uint8), "leaf_targetids": leaf_targets, "leaf_weights": array(leaf_weights, kind), "tree_roots": roots, "n_targets": targets}
    if member_values:
        attributes["membership_values"] = array(member_values, kind)
    return attributes


def trees():
    rng = np.random.default_rng(2)
    # Whole numbers above 0: of others, onnxruntime and the specification's evaluator make other set members.
    x = rng.integers(0, 7, (19, 4)).astype(float)
    x[rng.random(x.shape) < 0.15] = NAN
    for number, (key, modes) in enumerate([("leq", [0]), ("lt", [1]), ("gte", [2]), ("gt", [3]), ("eq", [4]), ("neq", [5]), ("member", [6]), ("all", list(range(7)))]):
        for kind in (np.float32, np.float64):
            attributes = forest(number, 5, 4, 4, 1, kind, modes, 4)
            case(f"trees_{key}_{np.dtype(kind).name}", "TreeEnsemble", [x.astype(kind)], [(KINDS[np.dtype(kind)], 2)], 5, **attributes)
    for aggregate, post, targets in itertools.product(range(4), (0, 3, 4), (1, 3)):  # 1 and 2 mean the opposite in the specification
        attributes = forest(20, 4, 3, 4, targets, np.float32, [0, 2, 6], 4)
        case(f"trees_{aggregate}_{post}_{targets}", "TreeEnsemble", [x.astype(np.float32)], [(T.FLOAT, 2)], 5, aggregate_function=aggregate, post_transform=post, **attributes)


preprocessing()
encoders()
shapes()
linear()
support()
trees()
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(CASES.items()))
(HERE / "cases.json").write_text("{\n" + lines + "\n}\n")
print(len(CASES), "cases")
