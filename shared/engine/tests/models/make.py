"""Makes the models of tests/parity.rs and what onnxruntime answers on them.

Needs onnx, onnxruntime, scikit-learn, skl2onnx, xgboost, lightgbm and onnxmltools; run it in this folder:
    python make.py
One thread, so that sums of float32 are taken in one order.
"""

import itertools
import json
import math
import pathlib

import lightgbm
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import to_onnx
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
SEED = 7
EXPECTED = {}


def run(name, model, feeds):
    """Saves a model with onnxruntime's answers."""
    model.doc_string = ""
    onnx.save(model, HERE / f"{name}.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, feeds)
    entry = {"inputs": [], "outputs": []}
    for key, value in feeds.items():
        entry["inputs"].append(write(key, value))
    for spec, value in zip(session.get_outputs(), outputs):
        if isinstance(value, list):  # ZipMap: one map a row
            value = np.array([list(row.values()) for row in value], dtype=np.float32)
        entry["outputs"].append(write(spec.name, value))
    EXPECTED[name] = entry


def write(name, value):
    kinds = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "object": "BYTES"}
    data = [word(item) for item in value.ravel().tolist()]
    return {"name": name, "datatype": kinds[str(value.dtype)], "shape": list(value.shape), "data": data}


def word(item):
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    return item


def rows_with_missing(x):
    x = x.copy()
    x[::5, 0] = np.nan
    x[1::7, 1] = np.nan
    x[3, :] = np.nan
    return x


def build(op, attributes, inputs, outputs, opset=1):
    node = helper.make_node(op, [inputs[0][0]], [o[0] for o in outputs], domain="ai.onnx.ml", **attributes)
    return graph([node], inputs, outputs, opset)


def graph(nodes, inputs, outputs, opset=1, initializers=()):
    infos = [helper.make_tensor_value_info(*i) for i in inputs], [helper.make_tensor_value_info(*o) for o in outputs]
    body = helper.make_graph(nodes, "g", infos[0], infos[1], list(initializers))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
    model = helper.make_model(body, opset_imports=sets, ir_version=8)
    return model


def random_trees(rng, trees, depth, features, modes, tracks, width, leaf_outputs, positive=False):
    """Random trees with thresholds on a grid that the rows hit exactly."""
    keys = "treeids nodeids featureids modes values truenodeids falsenodeids missing_value_tracks_true".split()
    a = {f"nodes_{k}": [] for k in keys}
    w = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(trees):
        counter = itertools.count()

        def grow(level):
            node = next(counter)
            at = len(a["nodes_treeids"])
            leaf = level == depth or (level > 1 and rng.random() < 0.25)
            for key, value in zip(keys, [tree, node, 0, "LEAF", 0.0, 0, 0, 0]):
                a[f"nodes_{key}"].append(value)
            if leaf:
                for output in leaf_outputs(rng, width):
                    weight = float(np.float32(rng.normal()))
                    w["treeids"].append(tree)
                    w["nodeids"].append(node)
                    w["ids"].append(output)
                    w["weights"].append(abs(weight) / trees if positive else weight)
                return node
            a["nodes_featureids"][at] = int(rng.integers(features))
            a["nodes_modes"][at] = str(rng.choice(modes))
            a["nodes_values"][at] = float(rng.integers(-3, 4)) / 2
            a["nodes_missing_value_tracks_true"][at] = int(rng.integers(2)) if tracks else 0
            a["nodes_truenodeids"][at] = grow(level + 1)
            a["nodes_falsenodeids"][at] = grow(level + 1)
            return node

        grow(0)
    return a, w


def grid_rows(rng, rows, features, missing):
    x = (rng.integers(-4, 5, (rows, features)) / 2).astype(np.float32)
    if missing:
        x[rng.random((rows, features)) < 0.2] = np.nan
    return x


def every(_, width):
    return range(width)


def one(rng, width):
    return [int(rng.integers(width))]


def some(rng, width):
    return [o for o in range(width) if rng.random() < 0.6] or [0]


def first(_, __):
    return [0]


def second(_, __):
    return [1]


BRANCHES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def make_modes():
    """Each branch mode alone and all mixed, with and without missing values; 19 trees, so that lanes are left over."""
    for number, modes in enumerate([[m] for m in BRANCHES] + [BRANCHES[:4], BRANCHES]):
        for tracks in (False, True):
            rng = np.random.default_rng(SEED + number)
            a, w = random_trees(rng, 19, 4, 4, modes, tracks, 1, first)
            attributes = {**a, **{f"target_{k}": v for k, v in w.items()}, "n_targets": 1}
            label = modes[0][7:].lower() if len(modes) == 1 else ("ordered" if len(modes) == 4 else "mixed")
            model = build("TreeEnsembleRegressor", attributes, [("X", T.FLOAT, [None, 4])], [("Y", T.FLOAT, [None, 1])])
            run(f"mode_{label}{'_tracks' if tracks else ''}", model, {"X": grid_rows(rng, 37, 4, True)})


def make_targets():
    """Aggregates, post transforms and base values of a regressor."""
    for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"]:
        for width, leaf in [(1, first), (3, every), (3, one)]:
            rng = np.random.default_rng(SEED)
            a, w = random_trees(rng, 5, 3, 3, ["BRANCH_LEQ"], False, width, leaf)
            for base in [None, [0.5, -0.25, 0.125][:width]]:
                for post in ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]:
                    if post != "NONE" and aggregate in ("AVERAGE", "MIN"):
                        continue
                    attributes = {**a, **{f"target_{k}": v for k, v in w.items()}, "n_targets": width}
                    attributes |= {"aggregate_function": aggregate, "post_transform": post}
                    if base:
                        attributes["base_values"] = base
                    name = f"target_{aggregate}_{width}{leaf.__name__}_{post}{'_base' if base else ''}".lower()
                    outputs = [("Y", T.FLOAT, [None, width])]
                    model = build("TreeEnsembleRegressor", attributes, [("X", T.FLOAT, [None, 3])], outputs)
                    run(name, model, {"X": grid_rows(rng, 9, 3, False)})


def make_classes():
    """Label rules: two classes with one score, with both, more classes; strings; base values; post transforms."""
    cases = [
        ("one_positive", 2, first, True, [[], [0.1], [0.1, 0.25]]),
        ("one_mixed", 2, first, False, [[], [0.1], [0.1, 0.25]]),
        ("second_positive", 2, second, True, [[], [0.1], [0.1, 0.25]]),
        ("second_mixed", 2, second, False, [[], [0.1, 0.25]]),
        ("both", 2, every, False, [[], [0.1], [0.1, 0.25]]),
        ("either", 2, one, False, [[]]),
        ("three", 3, every, False, [[], [0.1, -0.2, 0.3]]),
        ("three_some", 3, some, False, [[], [0.1, -0.2, 0.3]]),
    ]
    for name, width, leaf, positive, bases in cases:
        for base, post in itertools.product(bases, ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]):
            if post == "SOFTMAX_ZERO" and base:
                continue
            rng = np.random.default_rng(SEED)
            a, w = random_trees(rng, 4, 2, 3, ["BRANCH_LEQ"], False, width, leaf, positive)
            attributes = {**a, **{f"class_{k}": v for k, v in w.items()}, "post_transform": post}
            is_text = post == "LOGISTIC"
            if is_text:
                attributes["classlabels_strings"] = ["sell", "hold", "buy"][:width]
            else:
                attributes["classlabels_int64s"] = [10, 20, 30][:width]
            if base:
                attributes["base_values"] = base
            outputs = [("L", T.STRING if is_text else T.INT64, [None]), ("P", T.FLOAT, [None, width])]
            model = build("TreeEnsembleClassifier", attributes, [("X", T.FLOAT, [None, 3])], outputs)
            run(f"class_{name}_{post}_{len(base)}".lower(), model, {"X": grid_rows(rng, 9, 3, False)})


def make_types():
    """float64 attributes (ml 3), float64 and integer inputs."""
    rng = np.random.default_rng(SEED)
    a, w = random_trees(rng, 6, 4, 3, BRANCHES, True, 1, first)
    values, weights = a.pop("nodes_values"), w.pop("weights")
    attributes = {**a, **{f"target_{k}": v for k, v in w.items()}, "n_targets": 1}
    tensor = lambda v: numpy_helper.from_array(np.array(v, dtype=np.float64) + 1e-9)
    doubles = {"nodes_values_as_tensor": tensor(values), "target_weights_as_tensor": tensor(weights)}
    doubles["base_values_as_tensor"] = tensor([0.5])
    rows = grid_rows(rng, 20, 3, True).astype(np.float64) + 1e-9
    outputs = [("Y", T.FLOAT, [None, 1])]
    model = build("TreeEnsembleRegressor", attributes | doubles, [("X", T.DOUBLE, [None, 3])], outputs, 3)
    run("type_double_tensors", model, {"X": rows})
    plain = attributes | {"nodes_values": values, "target_weights": weights}
    model = build("TreeEnsembleRegressor", plain, [("X", T.DOUBLE, [None, 3])], outputs)
    run("type_double_input", model, {"X": rows})
    a, w = random_trees(rng, 6, 4, 3, ["BRANCH_LEQ"], False, 3, every)
    attributes = {**a, **{f"class_{k}": v for k, v in w.items()}, "classlabels_int64s": [0, 1, 2]}
    outputs = [("L", T.INT64, [None]), ("P", T.FLOAT, [None, 3])]
    for kind, dtype in [(T.INT64, np.int64), (T.INT32, np.int32)]:
        model = build("TreeEnsembleClassifier", attributes, [("X", kind, [None, 3])], outputs)
        run(f"type_{np.dtype(dtype).name}", model, {"X": rng.integers(-3, 4, (10, 3)).astype(dtype)})


def make_libraries():
    """What the libraries' exporters write."""
    x, y = make_classification(200, 6, n_informative=4, random_state=SEED)
    x3, y3 = make_classification(200, 6, n_informative=4, n_classes=3, random_state=SEED)
    xr, yr = make_regression(200, 6, random_state=SEED)
    x, x3, xr = (v.astype(np.float32) for v in (x, x3, xr))
    names = np.array(["sell", "hold", "buy"])
    plain = {"zipmap": False}

    def skl(name, model, data, target, **options):
        model.fit(data, target)
        kwargs = {"options": {id(model): options}} if options else {}
        run(name, to_onnx(model, data[:1], target_opset={"": 17, "ai.onnx.ml": 3}, **kwargs), {"X": data[:50]})

    skl("skl_forest_2", RandomForestClassifier(9, max_depth=4, random_state=SEED), x, y, **plain)
    skl("skl_forest_3", RandomForestClassifier(9, max_depth=4, random_state=SEED), x3, names[y3], **plain)
    skl("skl_forest_3_zipmap", RandomForestClassifier(5, max_depth=3, random_state=SEED), x3, y3)
    skl("skl_tree", DecisionTreeClassifier(max_depth=4, random_state=SEED), x, y, **plain)
    skl("skl_boost_2", GradientBoostingClassifier(n_estimators=9, max_depth=3, random_state=SEED), x, y, **plain)
    skl("skl_boost_3", GradientBoostingClassifier(n_estimators=6, max_depth=3, random_state=SEED), x3, y3, **plain)
    skl("skl_forest_regression", RandomForestRegressor(9, max_depth=4, random_state=SEED), xr, yr)
    skl("skl_forest_targets", ExtraTreesRegressor(5, max_depth=3, random_state=SEED), xr, np.stack([yr, -yr], 1))

    def tools(name, convert, model, data, target, rows, **kwargs):
        model.fit(data, target)
        types = [("X", ToolsFloat([None, data.shape[1]]))]
        run(name, convert(model, initial_types=types, target_opset=15, **kwargs), {"X": rows})

    small = {"n_estimators": 9, "max_depth": 3, "random_state": SEED}
    for key, estimator, data, target in [
        ("2", xgboost.XGBClassifier, x, y),
        ("3", xgboost.XGBClassifier, x3, y3),
        ("regression", xgboost.XGBRegressor, xr, yr),
    ]:
        data = rows_with_missing(data)
        tools(f"xgboost_{key}", convert_xgboost, estimator(**small), data, target, data[:50])
    for key, estimator, data, target in [
        ("2", lightgbm.LGBMClassifier, x, y),
        ("3", lightgbm.LGBMClassifier, x3, y3),
        ("regression", lightgbm.LGBMRegressor, xr, yr),
    ]:
        data = rows_with_missing(data)
        extra = {"zipmap": False} if key != "regression" else {}
        tools(f"lightgbm_{key}", convert_lightgbm, estimator(**small, verbose=-1), data, target, data[:50], **extra)


def make_graphs():
    """Trees within a larger graph; linear models and nets, which the graph engine runs."""
    rng = np.random.default_rng(SEED)
    const = lambda name, value: numpy_helper.from_array(np.asarray(value), name)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    x = normal(17, 4)
    a, w = random_trees(rng, 7, 4, 4, ["BRANCH_LEQ"], False, 3, every)
    attributes = {**a, **{f"class_{k}": v for k, v in w.items()}}
    for key, labels, kind in [("", {"classlabels_int64s": [0, 1, 2]}, T.INT64), ("_text", {"classlabels_strings": ["a", "b", "c"]}, T.STRING)]:
        nodes = [
            helper.make_node("Sub", ["X", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "scale"], ["scaled"]),
            helper.make_node("TreeEnsembleClassifier", ["scaled"], ["L", "raw"], domain="ai.onnx.ml", **attributes, **labels),
            helper.make_node("Softmax", ["raw"], ["P"], axis=1),
        ]
        values = [const("mean", normal(4)), const("scale", np.abs(normal(4)) + 1)]
        outputs = [("L", kind, [None]), ("P", T.FLOAT, [None, 3])]
        run(f"graph_scaled_trees{key}", graph(nodes, [("X", T.FLOAT, [None, 4])], outputs, 1, values), {"X": x})
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["P"], axis=1),
        helper.make_node("ArgMax", ["P"], ["L"], axis=1, keepdims=0),
    ]
    values = [const("W", normal(4, 3)), const("b", normal(3))]
    outputs = [("L", T.INT64, [None]), ("P", T.FLOAT, [None, 3])]
    run("graph_linear", graph(nodes, [("X", T.FLOAT, [None, 4])], outputs, 1, values), {"X": x})
    nodes = [
        helper.make_node("Gemm", ["X", "W0", "b0"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "W1", "b1"], ["g"], transB=1),
        helper.make_node("Relu", ["g"], ["r"]),
        helper.make_node("Gemm", ["r", "W2", "b2"], ["Y"], transB=1),
    ]
    values = [const(n, normal(*s)) for n, s in [("W0", (8, 4)), ("b0", (8,)), ("W1", (8, 8)), ("b1", (8,)), ("W2", (1, 8)), ("b2", (1,))]]
    run("graph_mlp", graph(nodes, [("X", T.FLOAT, [None, 4])], [("Y", T.FLOAT, [None, 1])], 1, values), {"X": x})
    nodes = [helper.make_node("Add", ["A", "B"], ["s"]), helper.make_node("Shape", ["s"], ["n"]), helper.make_node("Mul", ["s", "A"], ["Y"])]
    inputs = [("A", T.FLOAT, [None, 4]), ("B", T.FLOAT, [None, 4])]
    outputs = [("Y", T.FLOAT, [None, 4]), ("n", T.INT64, [2])]
    run("graph_two_inputs", graph(nodes, inputs, outputs), {"A": x, "B": normal(17, 4)})
    nodes = [
        helper.make_node("Conv", ["X", "W"], ["c"], kernel_shape=[3], pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["Y"]),
    ]
    values = [const("W", normal(5, 2, 3))]
    run("graph_conv", graph(nodes, [("X", T.FLOAT, [None, 2, 8])], [("Y", T.FLOAT, [None, 5])], 1, values), {"X": normal(6, 2, 8)})


make_modes()
make_targets()
make_classes()
make_types()
make_libraries()
make_graphs()
text = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(EXPECTED.items()))
(HERE / "expected.json").write_text("{\n" + text + "\n}\n")
print(len(EXPECTED), "models")
