"""Operators whose answer depends on the operator set, on ties or on the size of the numbers."""

import numpy as np
from onnx import TensorProto, helper

import rows
from export.entry import model
from export.handmade import EXPORTER, GROUP, assemble

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
SEQUENCE = ("sequence", FLOAT, ["rows", rows.STEPS, rows.CHANNELS])
TABLE = ("features", FLOAT, ["rows", rows.FEATURES])
COUNTS = {"features": "counts"}


def add(name, nodes, given, made, asked, library, *, constants=None, opset=17):
    """A model of a few nodes; `library` answers in float64, by the output's name."""

    def make():
        return {
            "family": "arithmetic",
            "exporter": EXPORTER,
            "model": assemble(nodes, [given], made, constants or {}, opset=opset),
            "rows": asked,
            "library": library,
            "trained_by": "numpy",
        }

    model(name, GROUP)(make)


def softmax(x, axis):
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def exponentials(x):
    with np.errstate(over="ignore"):
        between = 1 / (1 + np.exp(-x))
    return {"above": np.logaddexp(0, x), "below": x - log_sum_exp(x), "between": between}


def first(inputs):
    (values,) = inputs.values()
    return values.astype(np.float64)


def flat(inputs):
    values = first(inputs)
    return values.reshape(len(values), -1)


# Until operator set 13, softmax ran over all dimensions from its axis on.
add(
    "softmax_flattened",
    [
        helper.make_node("Softmax", ["sequence"], ["whole"], axis=1),
        helper.make_node("ReduceSum", ["whole"], ["score"], axes=[1], keepdims=0),
    ],
    SEQUENCE,
    [("score", FLOAT, ["rows", rows.CHANNELS])],
    {"sequence": "sequence"},
    lambda inputs: {"score": softmax(flat(inputs), 1).reshape(-1, rows.STEPS, rows.CHANNELS).sum(axis=1)},
    opset=11,
)
add(
    "log_softmax_flattened",
    [
        helper.make_node("LogSoftmax", ["sequence"], ["whole"]),
        helper.make_node("ReduceMax", ["whole"], ["score"], axes=[2], keepdims=0),
    ],
    SEQUENCE,
    [("score", FLOAT, ["rows", rows.STEPS])],
    {"sequence": "sequence"},
    lambda inputs: {"score": np.log(softmax(flat(inputs), 1)).reshape(-1, rows.STEPS, rows.CHANNELS).max(axis=2)},
    opset=12,
)


def log_sum_exp(x):
    most = x.max(axis=1, keepdims=True)
    return most + np.log(np.exp(x - most).sum(axis=1, keepdims=True))


# Up to 700: its exponential is no float32.
add(
    "log_sum_exp",
    [
        helper.make_node("Mul", ["features", "hundred"], ["large"]),
        helper.make_node("ReduceLogSumExp", ["large"], ["score"], axes=[1]),
    ],
    TABLE,
    [("score", FLOAT, ["rows", 1])],
    COUNTS,
    lambda inputs: {"score": log_sum_exp(100 * first(inputs))},
    constants={"hundred": np.float32(100)},
)
add(
    "softmax_large",
    [helper.make_node("Mul", ["features", "hundred"], ["large"]), helper.make_node("Softmax", ["large"], ["score"])],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES])],
    COUNTS,
    lambda inputs: {"score": softmax(100 * first(inputs), 1)},
    constants={"hundred": np.float32(100)},
)
add(
    "exponentials_large",
    [
        helper.make_node("Mul", ["features", "hundred"], ["large"]),
        helper.make_node("Softplus", ["large"], ["above"]),
        helper.make_node("LogSoftmax", ["large"], ["below"]),
        helper.make_node("Sigmoid", ["large"], ["between"]),
    ],
    TABLE,
    [(name, FLOAT, ["rows", rows.FEATURES]) for name in ("above", "below", "between")],
    {"features": "plain"},
    lambda inputs: exponentials(100.0 * first(inputs)),
    constants={"hundred": np.float32(100)},
)
# Counts are often equal: the first, or the last, of the largest.
add(
    "arg_max_ties",
    [
        helper.make_node("ArgMax", ["features"], ["label"], axis=1, keepdims=0),
        helper.make_node("ArgMin", ["features"], ["last"], axis=1, keepdims=0, select_last_index=1),
    ],
    TABLE,
    [("label", INT64, ["rows"]), ("last", INT64, ["rows"])],
    COUNTS,
    lambda inputs: {
        "label": first(inputs).argmax(axis=1),
        "last": rows.FEATURES - 1 - first(inputs)[:, ::-1].argmin(axis=1),
    },
)
add(
    "top_ties",
    [helper.make_node("TopK", ["features", "three"], ["score", "places"], axis=1)],
    TABLE,
    [("score", FLOAT, ["rows", 3]), ("places", INT64, ["rows", 3])],
    COUNTS,
    lambda inputs: {
        "score": -np.sort(-first(inputs), axis=1)[:, :3],
        "places": np.argsort(-first(inputs), axis=1, kind="stable")[:, :3],
    },
    constants={"three": np.array([3], dtype=np.int64)},
)
add(
    "round_and_modulo",
    [
        helper.make_node("Mul", ["features", "half"], ["halves"]),
        helper.make_node("Round", ["halves"], ["even"]),
        helper.make_node("Sub", ["features", "four"], ["signed"]),
        helper.make_node("Cast", ["signed"], ["whole"], to=INT64),
        helper.make_node("Mod", ["whole", "three"], ["modulo"]),
        helper.make_node("Div", ["whole", "three"], ["quotient"]),
        helper.make_node("Add", ["modulo", "quotient"], ["both"]),
        helper.make_node("Cast", ["both"], ["number"], to=FLOAT),
        helper.make_node("Add", ["even", "number"], ["score"]),
    ],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES])],
    COUNTS,
    # Halves to even; the modulo has the divisor's sign; integers are divided towards zero.
    lambda inputs: {
        "score": np.round(first(inputs) / 2) + np.mod(first(inputs) - 4, 3) + np.trunc((first(inputs) - 4) / 3)
    },
    constants={"half": np.float32(0.5), "four": np.float32(4), "three": np.array(3, dtype=np.int64)},
)
add(
    "activations",
    [
        helper.make_node("HardSigmoid", ["features"], ["a"], alpha=0.3, beta=0.4),
        helper.make_node("Elu", ["features"], ["b"], alpha=0.7),
        helper.make_node("Selu", ["features"], ["c"], alpha=1.5, gamma=1.2),
        helper.make_node("Celu", ["features"], ["d"], alpha=2.0),
        helper.make_node("ThresholdedRelu", ["features"], ["e"], alpha=0.5),
        helper.make_node("Shrink", ["features"], ["f"], lambd=0.6, bias=0.2),
        helper.make_node("Clip", ["features", "", "one"], ["g"]),
        helper.make_node("Sum", list("abcdefg"), ["score"]),
    ],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES])],
    {"features": "plain"},
    lambda inputs: {"score": activations(first(inputs))},
    constants={"one": np.float32(1)},
)

# Prices: a mean far from 0, and little around it.
add(
    "standard_prices",
    [
        helper.make_node("Add", ["features", "level"], ["prices"]),
        helper.make_node("MeanVarianceNormalization", ["prices"], ["score"], axes=[1]),
    ],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES])],
    COUNTS,
    lambda inputs: {"score": standardise(first(inputs))},
    constants={"level": np.float32(100)},
)
# The value is for the mode that these nodes do not have.
add(
    "pad_modes",
    [
        helper.make_node("Pad", ["features", "pads", "value", "axes"], ["mirrored"], mode="reflect"),
        helper.make_node("Pad", ["mirrored", "pads", "value", "axes"], ["longer"], mode="edge"),
        helper.make_node("Pad", ["longer", "pads", "value", "axes"], ["score"]),
    ],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES + 9])],
    {"features": "plain"},
    lambda inputs: {"score": pad_three_times(first(inputs))},
    constants={"pads": np.array([2, 1]), "value": np.float32(0.5), "axes": np.array([1])},
    opset=18,
)
add(
    "swish",
    [helper.make_node("Swish", ["features"], ["score"], alpha=1.75)],
    TABLE,
    [("score", FLOAT, ["rows", rows.FEATURES])],
    {"features": "plain"},
    lambda inputs: {"score": first(inputs) / (1 + np.exp(-1.75 * first(inputs)))},
    opset=24,
)


def standardise(x):
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def pad_three_times(x):
    widths = ((0, 0), (2, 1))
    longer = np.pad(np.pad(x, widths, mode="reflect"), widths, mode="edge")
    return np.pad(longer, widths, constant_values=0.5)


def activations(x):
    shrunk = np.where(x < -0.6, x + 0.2, np.where(x > 0.6, x - 0.2, 0))
    below = np.minimum(x, 0)
    return (
        np.clip(0.3 * x + 0.4, 0, 1)
        + np.where(x > 0, x, 0.7 * np.expm1(below))
        + 1.2 * np.where(x > 0, x, 1.5 * np.expm1(below))
        + np.maximum(x, 0)
        + 2.0 * np.expm1(below / 2.0)
        + np.where(x > 0.5, x, 0)
        + shrunk
        + np.minimum(x, 1)
    )
