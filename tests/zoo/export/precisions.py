"""Graphs in float64, float16 and int8 whose operators no exporter here writes; nothing needs PyTorch."""

import math
import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import rows
from export import handmade
from export.entry import model
from export.handmade import EXPORTER, GROUP, WIDTH, assemble, sigmoid, weights

DOUBLE, FLOAT, HALF = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16
EXACT = 1e-9
"""For float64: references are kept in that type."""
QUANTISER = f"onnxruntime {onnxruntime.__version__}"


def table(kind):
    return ("features", kind, ["rows", rows.FEATURES])


def sequence(kind):
    return ("sequence", kind, ["rows", rows.STEPS, rows.CHANNELS])


def add(name, family, dtype, make):
    def build():
        return {"family": family, "exporter": EXPORTER, "trained_by": "numpy", "dtype": dtype} | make()

    model(name, GROUP)(build)


def double(seed, *shape):
    return weights(seed, *shape).astype(np.float64)


def erf(x):
    return np.vectorize(math.erf)(x)


FUNCTIONS = {
    "Sigmoid": ({}, sigmoid),
    "Tanh": ({}, np.tanh),
    "Erf": ({}, erf),
    "Exp": ({}, np.exp),
    "Softplus": ({}, lambda x: np.logaddexp(0, x)),
    "Softsign": ({}, lambda x: x / (1 + np.abs(x))),
    "Elu": ({"alpha": 0.5}, lambda x: np.where(x < 0, 0.5 * np.expm1(x), x)),
    "Celu": ({"alpha": 2.0}, lambda x: np.where(x < 0, 2 * np.expm1(x / 2), x)),
    "LeakyRelu": ({"alpha": 0.25}, lambda x: np.where(x < 0, 0.25 * x, x)),
    "HardSigmoid": ({"alpha": 0.25, "beta": 0.5}, lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
    "HardSwish": ({}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Mish": ({}, lambda x: x * np.tanh(np.logaddexp(0, x))),
    "Gelu": ({}, lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2)))),
    "ThresholdedRelu": ({"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
    "Relu": ({}, lambda x: np.maximum(x, 0)),
}


def functions():
    """The sum of a function of every column, for each function, by three mixtures of the columns."""
    mix = double(1, rows.FEATURES, 3) * 3
    nodes = [helper.make_node("MatMul", ["features", "mix"], ["x"])]
    for at, (operator, (attributes, _)) in enumerate(FUNCTIONS.items()):
        nodes.append(helper.make_node(operator, ["x"], [f"y{at}"], **attributes))
    nodes.append(helper.make_node("Sum", [f"y{at}" for at in range(len(FUNCTIONS))], ["score"]))
    graph = assemble(nodes, [table(DOUBLE)], [("score", DOUBLE, ["rows", 3])], {"mix": mix}, opset=20)

    def library(inputs):
        x = inputs["features"] @ mix
        return {"score": sum(function(x) for _, function in FUNCTIONS.values())}

    return {"model": graph, "rows": {"features": "plain"}, "library": library, "tolerance": EXACT}


def dense():
    """Gemm with factors, batch and layer normalisation, softmax and its logarithm."""
    w, b, v = double(1, 8, rows.FEATURES), double(2, 8), double(3, 8, 3)
    scale, shift, mean = 1 + double(4, 8), double(5, 8), double(6, 8)
    variance = 1 + double(7, 8) ** 2
    constants = {"w": w, "b": b, "v": v, "scale": scale, "shift": shift, "mean": mean, "variance": variance}
    nodes = [
        helper.make_node("Gemm", ["features", "w", "b"], ["wide"], alpha=0.5, beta=2.0, transB=1),
        helper.make_node("BatchNormalization", ["wide", "scale", "shift", "mean", "variance"], ["steady"]),
        helper.make_node("LayerNormalization", ["steady", "scale", "shift"], ["level"]),
        helper.make_node("Gemm", ["level", "v"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["share"], axis=1),
        helper.make_node("LogSoftmax", ["raw"], ["log_share"], axis=1),
    ]
    made = [("share", DOUBLE, ["rows", 3]), ("log_share", DOUBLE, ["rows", 3])]
    graph = assemble(nodes, [table(DOUBLE)], made, constants)
    # Attributes are float32.
    epsilon = float(np.float32(1e-5))

    def library(inputs):
        x = 0.5 * (inputs["features"] @ w.T) + 2 * b
        x = (x - mean) / np.sqrt(variance + epsilon) * scale + shift
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + epsilon) * scale + shift
        x = x @ v
        logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        return {"share": np.exp(logs), "log_share": logs}

    return {"model": graph, "rows": {"features": "plain"}, "library": library, "tolerance": EXACT}


def convolution():
    """A dilated convolution in two groups over padded steps, every second one, and the mean of each channel."""
    w, b = double(1, 6, rows.CHANNELS // 2, 3), double(2, 6)
    nodes = [
        helper.make_node("Transpose", ["sequence"], ["channels"], perm=[0, 2, 1]),
        helper.make_node(
            "Conv", ["channels", "w", "b"], ["wide"], dilations=[2], group=2, pads=[3, 1], strides=[2], kernel_shape=[3]
        ),
        helper.make_node("Tanh", ["wide"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["means"]),
        helper.make_node("Flatten", ["means"], ["score"]),
    ]
    graph = assemble(nodes, [sequence(DOUBLE)], [("score", DOUBLE, ["rows", 6])], {"w": w, "b": b})

    def library(inputs):
        x = np.pad(inputs["sequence"].transpose(0, 2, 1), ((0, 0), (0, 0), (3, 1)))
        starts = range(0, x.shape[2] - 4, 2)
        half = rows.CHANNELS // 2
        parts = [
            np.einsum("rck,fck->rf", x[:, group * half :][:, :half, start : start + 5 : 2], w[group * 3 :][:3])
            for start in starts
            for group in (0, 1)
        ]
        sums = np.stack([np.concatenate(parts[at : at + 2], axis=1) for at in range(0, len(parts), 2)], axis=2)
        return {"score": np.tanh(sums + b[:, None]).mean(axis=2)}

    return {"model": graph, "rows": {"sequence": "sequence"}, "library": library, "tolerance": EXACT}


def recurrent(make):
    """A handmade float32 model with all its numbers in float64; its reference is computed in that type."""
    parts = make()
    graph = parts["model"].graph
    for tensor in graph.initializer:
        if tensor.data_type == FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for spec in (*graph.input, *graph.output):
        if spec.type.tensor_type.elem_type == FLOAT:
            spec.type.tensor_type.elem_type = DOUBLE
    onnx.checker.check_model(parts["model"])
    return parts | {"dtype": "float64", "tolerance": EXACT}


add("float64_functions", "arithmetic", "float64", functions)
add("float64_dense", "net", "float64", dense)
add("float64_convolution", "convolution", "float64", convolution)
for name, make in {
    "lstm_reverse_lengths": lambda: handmade.lstm(reverse=True, lengths=True),
    "lstm_peepholes": lambda: handmade.lstm(peepholes=True),
    "lstm_clip": lambda: handmade.lstm(clip=0.5),
    "gru_reset_before": lambda: handmade.gru(),
    "gru_lengths": lambda: handmade.gru(lengths=True, reset_after=1),
    "rnn_reverse": lambda: handmade.rnn(reverse=True, activation="Sigmoid"),
}.items():
    add(f"float64_{name}", "recurrent", "float64", lambda make=make: recurrent(make))


def mixed_halves():
    """float32 outside, float16 within: what converters write that keep some operators as they were."""
    w, b, v = (weights(seed, *shape).astype(np.float16) for seed, shape in ((1, (10, 8)), (2, (8,)), (3, (8, 3))))
    nodes = [
        helper.make_node("Cast", ["features"], ["half"], to=HALF),
        helper.make_node("MatMul", ["half", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["wide"]),
        helper.make_node("LayerNormalization", ["wide", "b", "b"], ["level"], stash_type=1),
        helper.make_node("Gelu", ["level"], ["bent"]),
        helper.make_node("MatMul", ["bent", "v"], ["raw"]),
        helper.make_node("Cast", ["raw"], ["raw_float"], to=FLOAT),
        helper.make_node("Softmax", ["raw_float"], ["score"], axis=1),
    ]
    graph = assemble(nodes, [table(FLOAT)], [("score", FLOAT, ["rows", 3])], {"w": w, "b": b, "v": v}, opset=20)
    w, b, v = (np.float64(part) for part in (w, b, v))

    def library(inputs):
        x = np.float64(inputs["features"].astype(np.float16)) @ w + b
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * b + b
        x = 0.5 * x * (1 + erf(x / np.sqrt(2))) @ v
        x = np.exp(x - x.max(axis=1, keepdims=True))
        return {"score": x / x.sum(axis=1, keepdims=True)}

    return {"model": graph, "rows": {"features": "plain"}, "library": library, "tolerance": 4e-3}


add("float16_mixed", "net", "float16", mixed_halves)


class Calibration(CalibrationDataReader):
    """Training rows, in batches of 50."""

    def __init__(self, name, kind):
        whole = rows.make(kind, rows.TRAINING, 300)
        self.parts = iter([{name: whole[at : at + 50]} for at in range(0, 300, 50)])

    def get_next(self):
        return next(self.parts, None)


def quantise(graph, name, kind, convert, flags):
    """A float graph in int8; the library is the float graph in onnxruntime."""

    def library(inputs):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        return {"score": session.run(None, inputs)[0]}

    with tempfile.TemporaryDirectory() as folder:
        before, after = os.path.join(folder, "float.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(graph, before)
        convert(before, after)
        whole = onnx.load(after)
    return {
        "model": whole,
        "exporter": f"{EXPORTER}, {QUANTISER}",
        "flags": flags,
        "rows": {name: kind},
        "library": library,
        "trained_by": QUANTISER,
        "dtype": "int8",
    }


def many_operators():
    """Two branches of convolutions with what the quantiser has an operator of its own for."""
    constants = {
        "w": weights(1, 8, rows.CHANNELS, 3),
        "b": weights(2, 8),
        "u": weights(3, 8, 4, 3),
        "head": weights(4, 16, 3),
        "head_bias": weights(5, 3),
    }
    nodes = [
        helper.make_node("Transpose", ["sequence"], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels", "w", "b"], ["first"], pads=[1, 1], kernel_shape=[3]),
        helper.make_node("LeakyRelu", ["first"], ["bent"], alpha=0.1),
        helper.make_node("Sigmoid", ["first"], ["gate"]),
        helper.make_node("Mul", ["bent", "gate"], ["gated"]),
        helper.make_node("Conv", ["gated", "u"], ["second"], pads=[2, 2], dilations=[2], group=2, kernel_shape=[3]),
        helper.make_node("Add", ["second", "gated"], ["both"]),
        helper.make_node("AveragePool", ["both"], ["halved"], kernel_shape=[2], strides=[2]),
        helper.make_node("MaxPool", ["both"], ["largest"], kernel_shape=[2], strides=[2]),
        helper.make_node("Concat", ["halved", "largest"], ["joined"], axis=1),
        helper.make_node("GlobalAveragePool", ["joined"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "head_bias"], ["score"]),
    ]
    return assemble(nodes, [sequence(FLOAT)], [("score", FLOAT, ["rows", 3])], constants)


def static(**options):
    def convert(before, after):
        quantize_static(before, after, Calibration("sequence", "sequence"), weight_type=QuantType.QInt8, **options)

    return convert


def dynamic(**options):
    return lambda before, after: quantize_dynamic(before, after, weight_type=QuantType.QInt8, **options)


def bidirectional():
    """An LSTM in both directions, and a weighted sum of its last states."""
    constants = {
        "w": weights(1, 2, 4 * WIDTH, rows.CHANNELS),
        "r": weights(2, 2, 4 * WIDTH, WIDTH),
        "b": weights(3, 2, 8 * WIDTH),
        "shape": np.array([-1, 2 * WIDTH], dtype=np.int64),
        "mix": weights(4, 2 * WIDTH, 2),
    }
    nodes = [
        helper.make_node("Transpose", ["sequence"], ["by_step"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["by_step", "w", "r", "b"], ["", "last"], hidden_size=WIDTH, direction="bidirectional"
        ),
        helper.make_node("Transpose", ["last"], ["by_row"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["by_row", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["score"]),
    ]
    return assemble(nodes, [sequence(FLOAT)], [("score", FLOAT, ["rows", 2])], constants)


def add_int8(name, family, make, convert, flags, **options):
    add(name, family, "int8", lambda: quantise(make(), "sequence", "sequence", convert, flags) | options)


UNSIGNED = {"activation_type": QuantType.QUInt8}
add_int8(
    "int8_operators",
    "convolution",
    many_operators,
    static(quant_format=QuantFormat.QOperator, **UNSIGNED),
    "quantize_static, QOperator",
)
add_int8(
    "int8_operators_channels",
    "convolution",
    many_operators,
    static(quant_format=QuantFormat.QOperator, per_channel=True, **UNSIGNED),
    "quantize_static, QOperator, per_channel",
)
add_int8(
    "int8_pairs",
    "convolution",
    many_operators,
    static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, per_channel=True),
    "quantize_static, QDQ, per_channel",
)
add_int8(
    "int8_pairs_wide",
    "convolution",
    many_operators,
    static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt16),
    "quantize_static, QDQ, QUInt16",
    # The last bit of a float sum moves a number of 16 bits by a step.
    tolerance=1e-3,
)
add_int8("int8_dynamic_convolution", "convolution", many_operators, dynamic(), "quantize_dynamic")
add_int8("int8_dynamic_lstm_both", "recurrent", bidirectional, dynamic(per_channel=True), "quantize_dynamic, per_channel")
