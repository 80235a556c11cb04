"""Forms that no exporter here writes and that the operators define; the references are numpy's."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import rows
from export.entry import model

GROUP = "handmade"
EXPORTER = f"onnx {onnx.__version__}"
WIDTH = 6
LENGTHS = "lengths"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(seed, *shape):
    return (rows.bell(seed, shape) * 0.4).astype(np.float32)


def assemble(nodes, inputs, outputs, constants, opset=17, ml=3, ir=10, functions=()):
    """A checked model; `inputs` and `outputs` are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    opsets += [helper.make_opsetid(domain, 1) for domain in sorted({function.domain for function in functions})]
    whole = helper.make_model(
        graph, opset_imports=opsets, ir_version=ir, producer_name="handmade", functions=functions
    )
    onnx.checker.check_model(whole)
    return whole


def recurrent(kind, steps, *, constants, attributes, extra=(), asks=None, opset=17):
    """One recurrent node over [rows, steps, channels]; the answers are weighed sums of all steps' states."""
    names = ["by_step", "w", "r", "b", *extra]
    nodes = [
        helper.make_node("Transpose", ["sequence"], ["by_step"], perm=[1, 0, 2]),
        helper.make_node(kind, names, ["states"], hidden_size=WIDTH, **attributes),
        helper.make_node("Transpose", ["states"], ["by_row"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["by_row", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["score"]),
    ]
    # Reshape's 0 keeps a dimension: the rows.
    shape = np.array([0, rows.STEPS * WIDTH], dtype=np.int64)
    mix = weights(9, rows.STEPS * WIDTH, 2)
    inputs = [("sequence", TensorProto.FLOAT, ["rows", rows.STEPS, rows.CHANNELS])]
    if asks:
        inputs.append(("lengths", TensorProto.INT32, ["rows"]))
    constants = constants | {"shape": shape, "mix": mix}
    graph = assemble(nodes, inputs, [("score", TensorProto.FLOAT, ["rows", 2])], constants, opset=opset)

    def library(asked):
        return {"score": steps(asked).reshape(len(asked["sequence"]), -1) @ mix.astype(np.float64)}

    return {
        "family": "recurrent",
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"sequence": "sequence"} | (asks or {}),
        "library": library,
        "trained_by": "numpy",
    }


def draw(gates):
    """Weights, recurrent weights and both biases of a recurrent node."""
    return {
        "w": weights(1, 1, gates * WIDTH, rows.CHANNELS),
        "r": weights(2, 1, gates * WIDTH, WIDTH),
        "b": weights(3, 1, 2 * gates * WIDTH),
    }


def lstm_step(x, h, c, w, r, b, peepholes=None, clip=None):
    """One step of the operator's equations; gates stand in the order i, o, f, c."""
    z = x @ w.T + h @ r.T + b[: 4 * WIDTH] + b[4 * WIDTH :]
    i, o, f, g = np.split(z, 4, axis=1)
    pi, po, pf = np.split(peepholes, 3) if peepholes is not None else (0, 0, 0)
    bound = (lambda v: np.clip(v, -clip, clip)) if clip else (lambda v: v)
    i, f = sigmoid(bound(i + pi * c)), sigmoid(bound(f + pf * c))
    c = f * c + i * np.tanh(bound(g))
    o = sigmoid(bound(o + po * c))
    return o * np.tanh(c), c


def gru_step(x, h, w, r, b, reset_after):
    """One step of the operator's equations; gates stand in the order z, r, h."""
    own, back = b[: 3 * WIDTH], b[3 * WIDTH :]
    wz, wr, wh = np.split(x @ w.T + own, 3, axis=1)
    rz, rr, rh = np.split(r, 3)
    bz, br, bh = np.split(back, 3)
    z = sigmoid(wz + h @ rz.T + bz)
    reset = sigmoid(wr + h @ rr.T + br)
    inner = reset * (h @ rh.T + bh) if reset_after else (reset * h) @ rh.T + bh
    return (1 - z) * np.tanh(wh + inner) + z * h


def walk(inputs, step, reverse=False):
    """Runs a step function along each row's own length; later steps give 0."""
    x = inputs["sequence"].astype(np.float64)
    lengths = inputs.get("lengths", np.full(len(x), rows.STEPS))
    states = np.zeros((len(x), rows.STEPS, WIDTH))
    h, c = np.zeros((len(x), WIDTH)), np.zeros((len(x), WIDTH))
    everyone = np.arange(len(x))
    for at in range(rows.STEPS):
        # A reversed walk starts at the row's own last step.
        place = lengths - 1 - at if reverse else np.full(len(x), at)
        alive = (at < lengths)[:, None]
        new_h, new_c = step(x[everyone, np.maximum(place, 0)], h, c)
        h, c = np.where(alive, new_h, h), np.where(alive, new_c, c)
        kept = alive[:, 0]
        states[everyone[kept], place[kept]] = h[kept]
    return states


def lstm(*, reverse=False, peepholes=False, clip=None, lengths=False, opset=17):
    constants = draw(4)
    extra, attributes = [], {"direction": "reverse" if reverse else "forward"}
    own = weights(4, 1, 3 * WIDTH)
    if lengths or peepholes:
        extra = ["lengths" if lengths else ""]
    if peepholes:
        extra += ["", "", "p"]
        constants = constants | {"p": own}
    if clip:
        attributes["clip"] = clip
    w, r, b = (constants[name][0].astype(np.float64) for name in "wrb")

    def steps(inputs):
        more = {"peepholes": own[0].astype(np.float64) if peepholes else None, "clip": clip}
        return walk(inputs, lambda x, h, c: lstm_step(x, h, c, w, r, b, **more), reverse)

    asks = {"lengths": LENGTHS} if lengths else None
    return recurrent("LSTM", steps, constants=constants, attributes=attributes, extra=extra, asks=asks, opset=opset)


def gru(*, reverse=False, reset_after=0, lengths=False):
    constants = draw(3)
    attributes = {"direction": "reverse" if reverse else "forward", "linear_before_reset": reset_after}
    w, r, b = (constants[name][0].astype(np.float64) for name in "wrb")

    def steps(inputs):
        return walk(inputs, lambda x, h, c: (gru_step(x, h, w, r, b, reset_after), c), reverse)

    asks = {"lengths": LENGTHS} if lengths else None
    extra = ["lengths"] if lengths else []
    return recurrent("GRU", steps, constants=constants, attributes=attributes, extra=extra, asks=asks)


def rnn(*, reverse=False, activation="Tanh"):
    constants = draw(1)
    attributes = {"direction": "reverse" if reverse else "forward", "activations": [activation]}
    w, r, b = (constants[name][0].astype(np.float64) for name in "wrb")
    apply = {"Tanh": np.tanh, "Relu": lambda v: np.maximum(v, 0), "Sigmoid": sigmoid}[activation]

    def steps(inputs):
        bias = b[:WIDTH] + b[WIDTH:]
        return walk(inputs, lambda x, h, c: (apply(x @ w.T + h @ r.T + bias), c), reverse)

    return recurrent("RNN", steps, constants=constants, attributes=attributes)


def add(name, make):
    model(name, GROUP)(make)


add("lstm_reverse", lambda: lstm(reverse=True))
add("lstm_peepholes", lambda: lstm(peepholes=True))
add("lstm_clip", lambda: lstm(clip=0.5, opset=14))
add("lstm_lengths", lambda: lstm(lengths=True))
add("lstm_reverse_lengths", lambda: lstm(reverse=True, lengths=True))
add("gru_reset_before", lambda: gru())
add("gru_reverse", lambda: gru(reverse=True, reset_after=1))
add("gru_lengths", lambda: gru(lengths=True, reset_after=1))
add("rnn_reverse", lambda: rnn(reverse=True))
add("rnn_sigmoid", lambda: rnn(activation="Sigmoid"))


LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)


def membership():
    """`TreeEnsemble` of ai.onnx.ml 5: numbers, categories by set, and equality."""
    # Tree 0: is column 0 in {1, 4, 9}? then column 2 <= 0.1, else column 1 in {0, 3, 17, 25}.
    # Tree 1: is column 0 equal to 5? then a leaf, else column 3 > -0.3.
    attributes = {
        "n_targets": 2,
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": [0, 3],
        "nodes_modes": numpy_helper.from_array(np.array([MEMBER, LEQ, MEMBER, EQ, GT], dtype=np.uint8), "modes"),
        "nodes_featureids": [0, 2, 1, 0, 3],
        "nodes_splits": numpy_helper.from_array(np.array([0, 0.1, 0, 5, -0.3], dtype=np.float32), "splits"),
        "nodes_truenodeids": [1, 0, 2, 4, 5],
        "nodes_trueleafs": [0, 1, 1, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 4, 6],
        "nodes_falseleafs": [0, 1, 1, 0, 1],
        "membership_values": numpy_helper.from_array(
            np.array([1, 4, 9, np.nan, 0, 3, 17, 25, np.nan], dtype=np.float32), "sets"
        ),
        "leaf_targetids": [0, 1, 0, 1, 0, 1, 0],
        "leaf_weights": numpy_helper.from_array(
            np.array([0.5, -1.25, 2.0, 0.75, -0.5, 1.5, 3.0], dtype=np.float32), "weights"
        ),
    }
    node = helper.make_node("TreeEnsemble", ["features"], ["score"], domain="ai.onnx.ml", **attributes)
    given = [("features", TensorProto.FLOAT, ["rows", rows.FEATURES])]
    graph = assemble([node], given, [("score", TensorProto.FLOAT, ["rows", 2])], {}, opset=22, ml=5)
    leaves = [(0, 0.5), (1, -1.25), (0, 2.0), (1, 0.75), (0, -0.5), (1, 1.5), (0, 3.0)]

    def answer(row):
        found = [0.0, 0.0]
        first = (row[2] > np.float32(0.1)) if row[0] in (1, 4, 9) else 2 + (row[1] not in (0, 3, 17, 25))
        second = 4 if row[0] == 5 else 5 + (row[3] <= np.float32(-0.3))
        for leaf in (first, second):
            target, weight = leaves[int(leaf)]
            found[target] += weight
        return found

    # By hand: the evaluator of onnx 1.23 takes a wrong set where a node before it has one too.
    return {
        "family": "tree",
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"features": "coded"},
        "library": lambda inputs: {"score": np.array([answer(row) for row in inputs["features"]])},
        "trained_by": "numpy",
    }


def encoders():
    """Strings to numbers, by the two operators that do it, beside numbers."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["sector"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=list(rows.SECTORS[:-1]),
            values_floats=[0.5, 1.5, -2.0, 3.0],
            default_float=-1.0,
        ),
        helper.make_node(
            "CategoryMapper",
            ["venue"],
            ["place"],
            domain="ai.onnx.ml",
            cats_strings=list(rows.VENUES),
            cats_int64s=[3, 1, 0, 2],
            default_int64=-1,
        ),
        helper.make_node("Cast", ["place"], ["place_number"], to=TensorProto.FLOAT),
        helper.make_node(
            "Scaler",
            ["numbers"],
            ["scaled"],
            domain="ai.onnx.ml",
            offset=[0.1, 0.2, 0.0, -0.4],
            scale=[2.0, 0.5, 1.0, 3.0],
        ),
        helper.make_node("Concat", ["code", "place_number", "scaled"], ["whole"], axis=1),
        helper.make_node(
            "LinearRegressor",
            ["whole"],
            ["score"],
            domain="ai.onnx.ml",
            coefficients=[0.3, -0.2, 1.0, 0.5, -0.7, 0.1],
            intercepts=[0.25],
            targets=1,
        ),
    ]
    given = [
        ("sector", TensorProto.STRING, ["rows", 1]),
        ("venue", TensorProto.STRING, ["rows", 1]),
        ("numbers", TensorProto.FLOAT, ["rows", 4]),
    ]
    graph = assemble(nodes, given, [("score", TensorProto.FLOAT, ["rows", 1])], {})

    def library(inputs):
        codes = dict(zip(rows.SECTORS[:-1], (0.5, 1.5, -2.0, 3.0), strict=True))
        places = dict(zip(rows.VENUES, (3, 1, 0, 2), strict=True))
        code = np.array([codes.get(word, -1.0) for word in inputs["sector"][:, 0]])
        place = np.array([places[word] for word in inputs["venue"][:, 0]])
        scaled = (inputs["numbers"] - np.float64([0.1, 0.2, 0.0, -0.4])) * [2.0, 0.5, 1.0, 3.0]
        return {"score": (0.3 * code - 0.2 * place + scaled @ [1.0, 0.5, -0.7, 0.1] + 0.25)[:, None]}

    return {
        "family": "pipeline",
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"sector": "sector", "venue": "venue", "numbers": "few"},
        "library": library,
        "trained_by": "numpy",
        "dtype": "mixed",
    }


def functions():
    """Functions of the model's own: one calls the other, with an attribute and with its default."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    factor = helper.make_node("Constant", [], ["factor"])
    factor.attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="factor")
    squash = helper.make_function(
        "own",
        "Squash",
        ["x"],
        ["y"],
        [
            factor,
            helper.make_node("Mul", ["x", "factor"], ["product"]),
            helper.make_node("Tanh", ["product"], ["y"]),
        ],
        opsets,
        attribute_protos=[helper.make_attribute("factor", 0.5)],
    )
    both = helper.make_function(
        "own",
        "Both",
        ["x"],
        ["up", "down"],
        [
            helper.make_node("Squash", ["x"], ["up"], domain="own", factor=2.0),
            helper.make_node("Squash", ["x"], ["y"], domain="own"),
            helper.make_node("Neg", ["y"], ["down"]),
        ],
        opsets,
    )
    nodes = [
        helper.make_node("Both", ["features"], ["y", "x"], domain="own"),
        helper.make_node("Squash", ["y"], ["product"], domain="own"),
        helper.make_node("Sum", ["y", "x", "product"], ["score"]),
    ]
    shape = ["rows", rows.FEATURES]
    given, made = ("features", TensorProto.FLOAT, shape), ("score", TensorProto.FLOAT, shape)
    graph = assemble(nodes, [given], [made], {}, functions=[squash, both])

    def library(inputs):
        x = inputs["features"].astype(np.float64)
        up = np.tanh(2 * x)
        return {"score": up - np.tanh(x / 2) + np.tanh(up / 2)}

    return {
        "family": "arithmetic",
        "exporter": EXPORTER,
        "model": graph,
        "rows": {"features": "plain"},
        "library": library,
        "trained_by": "numpy",
    }


add("tree_membership", membership)
add("encoders", encoders)
add("functions", functions)
