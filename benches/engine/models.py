"""Makes the models of the engine's benchmark: models.py FOLDER.

Trees and linear models are trained and exported; nets are written down with random weights, as PyTorch exports them.
Beside each MODEL.onnx lies MODEL.f32, 1,024 rows of little-endian float32, and for boosted trees the model as its own
library stores it. What is there already is kept.
"""

import pathlib
import sys
import warnings

import catboost
import lightgbm
import numpy as np
import onnx
import onnxmltools
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROWS = 1024
TRAINING_ROWS = 4000
FEATURES = 50
OPSET, ML_OPSET = 17, 3
STEPS, CHANNELS, UNITS = 32, 16, 64
"""Of a sequence: its length and its numbers a step; the width of the nets that read it."""


def training(columns, classes=0):
    """Rows, and a noisy target of some of their columns."""
    random = np.random.default_rng(7)
    x = random.standard_normal((TRAINING_ROWS, columns)).astype(np.float32)
    y = x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.7 * random.standard_normal(TRAINING_ROWS)
    return (x, np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))) if classes else (x, y)


def scikit(estimator, classes):
    x, y = training(FEATURES, classes)
    estimator.fit(x, y)
    options = {id(estimator): {"zipmap": False}}
    return to_onnx(estimator, x[:1], options=options, target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET})


def forest(trees):
    return lambda _: scikit(RandomForestClassifier(trees, max_depth=10, random_state=0, n_jobs=1), 3)


def logistic(_):
    return scikit(LogisticRegression(max_iter=500), 2)


def pipeline(_):
    return scikit(make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), 3)


def types():
    return [("features", FloatTensorType([None, FEATURES]))]


def xgboost_trees(trees):
    def make(stem):
        estimator = xgboost.XGBRegressor(n_estimators=trees, max_depth=6, learning_rate=0.05, n_jobs=1, random_state=0)
        estimator.fit(*training(FEATURES))
        estimator.save_model(stem.with_suffix(".ubj"))
        return onnxmltools.convert_xgboost(estimator, initial_types=types(), target_opset=15)

    return make


def lightgbm_trees(stem):
    estimator = lightgbm.LGBMRegressor(n_estimators=500, num_leaves=31, n_jobs=1, random_state=0, verbose=-1)
    estimator.fit(*training(FEATURES))
    estimator.booster_.save_model(stem.with_suffix(".txt"))
    return onnxmltools.convert_lightgbm(estimator, initial_types=types(), target_opset=15)


def catboost_trees(stem):
    estimator = catboost.CatBoostRegressor(
        iterations=500, depth=6, random_seed=0, thread_count=1, verbose=False, allow_writing_files=False
    )
    estimator.fit(*training(FEATURES))
    estimator.save_model(str(stem.with_suffix(".cbm")))
    estimator.save_model(str(stem.with_suffix(".onnx")), format="onnx")
    return onnx.load(stem.with_suffix(".onnx"))


class Net:
    """A graph that is written down node by node."""

    def __init__(self, *row):
        self.row, self.nodes, self.constants = row, [], []
        self.random = np.random.default_rng(11)

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def weights(self, *shape):
        """Uniform within the bound that PyTorch takes: one over the root of the inputs."""
        bound = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else shape[0])
        return self.constant(self.random.uniform(-bound, bound, shape).astype(np.float32))

    def node(self, operator, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def dense(self, value, size, width):
        return self.node("Gemm", value, self.weights(width, size), self.weights(width), transB=1)

    def linear(self, value, size, width):
        """A dense layer on the last of three dimensions, as PyTorch writes it."""
        return self.node("Add", self.node("MatMul", value, self.weights(size, width)), self.weights(width))

    def build(self, output, *shape):
        self.nodes[-1].output[0] = "output"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "net",
            [value("input", TensorProto.FLOAT, ["batch", *self.row])],
            [value("output", TensorProto.FLOAT, ["batch", *shape])],
            self.constants,
        )
        assert output == f"v{len(self.nodes) - 1}"
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def perceptron(_):
    net = Net(64)
    value = net.node("Relu", net.dense("input", 64, 256))
    value = net.node("Relu", net.dense(value, 256, 256))
    return net.build(net.node("Softmax", net.dense(value, 256, 3), axis=1), 3)


def batch_norm_perceptron(_):
    net, size = Net(64), 64
    value = "input"
    for width in (256, 256):
        scale = [net.constant(net.random.uniform(0.5, 1.5, width).astype(np.float32)) for _ in range(4)]
        value = net.node("BatchNormalization", net.dense(value, size, width), *scale)
        value, size = net.node("Relu", value), width
    return net.build(net.node("Softmax", net.dense(value, size, 3), axis=1), 3)


def recurrent(operator, gates, **attributes):
    def make(_):
        net = Net(STEPS, CHANNELS)
        value = net.node("Transpose", "input", perm=[1, 0, 2])
        weights = net.weights(1, gates * UNITS, CHANNELS), net.weights(1, gates * UNITS, UNITS)
        value = net.node(operator, value, *weights, net.weights(1, gates * UNITS * 2), hidden_size=UNITS, **attributes)
        value = net.node("Squeeze", value, net.integers(1))
        value = net.node("Gather", value, net.constant(np.array(-1, dtype=np.int64)), axis=0)
        return net.build(net.dense(value, UNITS, 1), 1)

    return make


def convolutions(_):
    """A causal net: each block pads on both sides and cuts the future off."""
    net, size, width = Net(STEPS, CHANNELS), CHANNELS, 32
    value = net.node("Transpose", "input", perm=[0, 2, 1])
    for dilation in (1, 2, 4, 8):
        pad = 2 * dilation
        block, own = value, size
        for _ in range(2):
            weights = net.weights(width, own, 3), net.weights(width)
            block = net.node("Conv", block, *weights, kernel_shape=[3], dilations=[dilation], pads=[pad, pad])
            block = net.node("Slice", block, net.integers(0), net.integers(-pad), net.integers(2), net.integers(1))
            block, own = net.node("Relu", block), width
        if size != width:
            value = net.node("Conv", value, net.weights(width, size, 1), net.weights(width), kernel_shape=[1])
        value, size = net.node("Relu", net.node("Add", block, value)), width
    value = net.node("Gather", value, net.constant(np.array(-1, dtype=np.int64)), axis=2)
    return net.build(net.dense(value, width, 1), 1)


def transformer(_):
    net, width, heads, inner = Net(STEPS, CHANNELS), UNITS, 4, 128
    size = width // heads
    value = net.linear("input", CHANNELS, width)

    def norm(value):
        parts = [net.constant(net.random.uniform(0.5, 1.5, width).astype(np.float32)), net.weights(width)]
        return net.node("LayerNormalization", value, *parts, axis=-1, epsilon=1e-5)

    def split(value, order):
        parts = net.node("Reshape", net.linear(value, width, width), net.integers(0, STEPS, heads, size))
        return net.node("Transpose", parts, perm=order)

    for _ in range(2):
        query, key = split(value, [0, 2, 1, 3]), split(value, [0, 2, 3, 1])
        scale = net.constant(np.array(size**-0.5, dtype=np.float32))
        scores = net.node("Softmax", net.node("Mul", net.node("MatMul", query, key), scale), axis=-1)
        heard = net.node("MatMul", scores, split(value, [0, 2, 1, 3]))
        heard = net.node("Reshape", net.node("Transpose", heard, perm=[0, 2, 1, 3]), net.integers(0, STEPS, width))
        value = norm(net.node("Add", value, net.linear(heard, width, width)))
        wide = net.node("Relu", net.linear(value, width, inner))
        value = norm(net.node("Add", value, net.linear(wide, inner, width)))
    value = net.node("ReduceMean", value, axes=[1], keepdims=0)
    return net.build(net.dense(value, width, 1), 1)


MODELS = {
    "forest-100": forest(100),
    "forest-500": forest(500),
    "xgboost-100": xgboost_trees(100),
    "xgboost-500": xgboost_trees(500),
    "xgboost-1000": xgboost_trees(1000),
    "lightgbm-500": lightgbm_trees,
    "catboost-500": catboost_trees,
    "logistic": logistic,
    "pipeline": pipeline,
    "mlp": perceptron,
    "mlp-batch-norm": batch_norm_perceptron,
    "lstm": recurrent("LSTM", 4),
    "gru": recurrent("GRU", 3, linear_before_reset=1),
    "tcn": convolutions,
    "transformer": transformer,
}


def main():
    warnings.simplefilter("ignore")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        stem = folder / name
        if stem.with_suffix(".f32").exists():
            continue
        model = make(stem)
        onnx.checker.check_model(model)
        onnx.save(model, stem.with_suffix(".onnx"))
        dims = model.graph.input[0].type.tensor_type.shape.dim
        shape = [ROWS, *(dim.dim_value for dim in dims[1:])]
        np.random.default_rng(13).standard_normal(shape).astype("<f4").tofile(stem.with_suffix(".f32"))
        print(f"{name}: {stem.with_suffix('.onnx').stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
