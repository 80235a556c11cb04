"""PyTorch nets whose weights onnxruntime's tools made int8."""

import os
import tempfile

import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

import rows
from export import nets, sequences
from export.entry import model as register
from export.scikit import training_rows
from export.torch_export import GROUP, ROWS, build

EXPORTER = f"PyTorch, onnxruntime {onnxruntime.__version__}"


class Calibration(CalibrationDataReader):
    """Training rows, in batches of 50."""

    def __init__(self, names):
        whole = {name: training_rows(ROWS[name]) for name in names}
        self.parts = iter([{n: v[at : at + 50] for n, v in whole.items()} for at in range(0, 300, 50)])

    def get_next(self):
        return next(self.parts, None)


def quantise(make, names, convert, flags, **options):
    """The float net, and its graph in int8; the library answers as the float net does."""
    parts = build(make, list(names), **options)
    with tempfile.TemporaryDirectory() as folder:
        float_path, own_path = os.path.join(folder, "float.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(parts["model"], float_path)
        quant_pre_process(float_path, float_path)
        convert(float_path, own_path, names)
        graph = onnx.load(own_path)
    return parts | {"model": graph, "exporter": EXPORTER, "flags": flags, "dtype": "int8", "tolerance": 1e-5}


def dynamic(**options):
    def convert(before, after, _names):
        quantize_dynamic(before, after, **options)

    return convert


def static(**options):
    def convert(before, after, names):
        quantize_static(before, after, Calibration(names), **options)

    return convert


def add(name, family, make, names, convert, flags, **options):
    register(name, GROUP)(lambda: quantise(make, names, convert, flags, **options) | {"family": family})


class Products(nn.Module):
    """A net of matrix products without `Gemm`: three dimensions."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(rows.CHANNELS, 16), nn.Linear(16, 2)

    def forward(self, sequence):
        return self.last(self.first(sequence).relu()).mean(dim=1)


TABLE, SEQUENCE = ("features",), ("sequence",)
SIGNED = {"weight_type": QuantType.QInt8}
add("int8_dynamic", "net", nets.perceptron, TABLE, dynamic(**SIGNED), "quantize_dynamic")
add(
    "int8_dynamic_unsigned",
    "net",
    nets.perceptron,
    TABLE,
    dynamic(weight_type=QuantType.QUInt8),
    "quantize_dynamic, QUInt8",
)
add(
    "int8_dynamic_channels",
    "net",
    Products,
    SEQUENCE,
    dynamic(per_channel=True, **SIGNED),
    "quantize_dynamic, per_channel",
    opset=13,
)
add("int8_dynamic_attention", "attention", sequences.CausalAttention, SEQUENCE, dynamic(**SIGNED), "quantize_dynamic")
add("int8_dynamic_lstm", "recurrent", sequences.recurrent(nn.LSTM), SEQUENCE, dynamic(**SIGNED), "quantize_dynamic")
add(
    "int8_static",
    "net",
    nets.perceptron,
    TABLE,
    static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, **SIGNED),
    "quantize_static, QDQ",
)
add(
    "int8_static_channels",
    "net",
    nets.classes,
    TABLE,
    static(quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, **SIGNED),
    "quantize_static, QDQ, per_channel",
    opset=21,
    kind="classes",
)
add(
    "int8_static_operators",
    "net",
    Products,
    SEQUENCE,
    static(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, **SIGNED),
    "quantize_static, QOperator",
)
add(
    "int8_static_convolution",
    "convolution",
    sequences.tcn,
    SEQUENCE,
    static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, **SIGNED),
    "quantize_static, QDQ",
)
add(
    "int8_static_convolution_operators",
    "convolution",
    sequences.Pooled,
    SEQUENCE,
    static(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, **SIGNED),
    "quantize_static, QOperator",
)
