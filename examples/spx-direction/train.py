"""Train the `spx-direction` example: a tree ensemble, its neural fallback, and their evidence.

    python train.py            # retrain and write the committed files next to this script
    python train.py --check    # retrain in memory, compare with the committed files, write nothing

One run is single-threaded, seeded and free of clocks and host names, so it gives the same bytes
each time. No feature looks ahead: a row dated t uses prices up to the close of day t only, and the
script proves it by recomputing features from truncated histories.
"""

import os

# One thread, before NumPy loads: the order of floating-point sums must not depend on scheduling.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import hashlib
import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import sklearn
from arch.data import sp500
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

FOLDER = Path(__file__).resolve().parent
# SHA-256 of `arch/data/sp500/sp500.csv.gz` in arch 8.0.0: another file is another model.
DATA_SHA256 = "1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de"

LABELS = ["sell", "hold", "buy"]  # class ids 0, 1, 2
HORIZON_DAYS = 5
THRESHOLD_VOLS = 0.5  # sell/buy beyond ± this many 5-day volatilities
FIRST_TEST_DAY = "2015-01-01"
EMBARGO_DAYS = 20  # trading days dropped before the test period; must be >= HORIZON_DAYS
SEED = 20190101
SAMPLE_ROWS = 300
DECIMALS = 6  # features are rounded, so that the CSV, JSON and float32 all hold the same number
TOLERANCE = 1e-5
OPSET, OPSET_ML = 17, 3

FEATURES = [
    "ret_1d",
    "ret_5d",
    "ret_20d",
    "ret_60d",
    "vol_20d",
    "vol_ratio_5d_60d",
    "rsi_14",
    "gap_sma_20",
    "gap_sma_50",
    "gap_sma_200",
    "drawdown_252d",
    "range_1d",
    "close_location",
    "volume_z_20d",
]


def load_prices() -> pd.DataFrame:
    """Daily S&P 500 bars as they ship inside the `arch` package, checked against the known digest."""
    path = Path(sp500.__file__).parent / "sp500.csv.gz"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != DATA_SHA256:
        sys.exit(f"sp500.csv.gz has SHA-256 {digest}, expected {DATA_SHA256}: install requirements.txt")
    prices = sp500.load()
    if not prices.index.is_monotonic_increasing or prices.index.has_duplicates:
        sys.exit("the price history is not strictly ordered by date")
    return prices


def compute_features(prices: pd.DataFrame) -> pd.DataFrame:
    """Features of each day from the bars up to and including that day (see README.md)."""
    close, high, low = prices["Close"], prices["High"], prices["Low"]
    volume = prices["Volume"].astype(float)
    daily = close / close.shift(1) - 1.0
    change = close.diff()
    gain = change.clip(lower=0.0).rolling(14).mean()
    loss = (-change).clip(lower=0.0).rolling(14).mean()
    spread = high - low
    columns = {
        "ret_1d": daily,
        "ret_5d": close / close.shift(5) - 1.0,
        "ret_20d": close / close.shift(20) - 1.0,
        "ret_60d": close / close.shift(60) - 1.0,
        "vol_20d": daily.rolling(20).std(),
        "vol_ratio_5d_60d": daily.rolling(5).std() / daily.rolling(60).std(),
        "rsi_14": 100.0 * gain / (gain + loss),
        "gap_sma_20": close / close.rolling(20).mean() - 1.0,
        "gap_sma_50": close / close.rolling(50).mean() - 1.0,
        "gap_sma_200": close / close.rolling(200).mean() - 1.0,
        "drawdown_252d": close / close.rolling(252).max() - 1.0,
        "range_1d": spread / close,
        "close_location": (close - low) / spread,
        "volume_z_20d": (volume - volume.rolling(20).mean()) / volume.rolling(20).std(),
    }
    return pd.DataFrame(columns)[FEATURES].round(DECIMALS)


def prove_no_look_ahead(prices: pd.DataFrame, features: pd.DataFrame) -> None:
    """Recompute the last row of truncated histories: the future must not have changed it."""
    for end in range(400, len(prices) + 1, 463):
        alone = compute_features(prices.iloc[:end]).iloc[-1]
        if not alone.equals(features.iloc[end - 1]):
            sys.exit(f"a feature of {features.index[end - 1].date()} depends on later prices")


def compute_outcomes(prices: pd.DataFrame) -> pd.DataFrame:
    """The next 5 days' return and its class; undefined for the last 5 days."""
    close = prices["Close"]
    forward = close.shift(-HORIZON_DAYS) / close - 1.0
    daily = close / close.shift(1) - 1.0
    threshold = THRESHOLD_VOLS * daily.rolling(20).std() * HORIZON_DAYS**0.5
    label = pd.Series(1.0, index=close.index)
    label[forward < -threshold] = 0.0
    label[forward > threshold] = 2.0
    label[forward.isna() | threshold.isna()] = np.nan
    return pd.DataFrame({"forward_return_5d": forward.round(DECIMALS), "label": label})


@dataclass(frozen=True)
class Split:
    """Time-ordered data: float32 features [rows, F] and class ids."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    test_days: pd.DatetimeIndex
    test_forward: np.ndarray
    train_span: tuple[str, str]


def split_by_time(features: pd.DataFrame, outcomes: pd.DataFrame) -> Split:
    """Train before FIRST_TEST_DAY less the embargo, test from there on."""
    rows = features.join(outcomes).dropna()
    before = rows[rows.index < FIRST_TEST_DAY]
    train, test = before.iloc[:-EMBARGO_DAYS], rows[rows.index >= FIRST_TEST_DAY]
    return Split(
        train_x=train[FEATURES].to_numpy(np.float32),
        train_y=train["label"].to_numpy(np.int64),
        test_x=test[FEATURES].to_numpy(np.float32),
        test_y=test["label"].to_numpy(np.int64),
        test_days=test.index,
        test_forward=test["forward_return_5d"].to_numpy(),
        train_span=(str(train.index[0].date()), str(train.index[-1].date())),
    )


class Forest:
    """The live model: a random forest on float32 features."""

    name = "spx-direction"
    description = "Direction of the S&P 500 over the next 5 trading days: 100 trees; an example, not investment advice."
    library = "scikit-learn RandomForestClassifier"

    def __init__(self, split: Split):
        self.model = RandomForestClassifier(
            n_estimators=100, max_depth=6, min_samples_leaf=50, max_features="sqrt",
            class_weight="balanced", random_state=SEED, n_jobs=1,
        ).fit(split.train_x, split.train_y)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(x)

    def to_onnx(self) -> onnx.ModelProto:
        return to_onnx(
            self.model,
            initial_types=[("features", FloatTensorType([None, len(FEATURES)]))],
            options={"zipmap": False},
            target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
        )


class Net:
    """The fallback: a small neural net, scaling included, exported with plain `ai.onnx` operators."""

    name = "spx-direction-mlp"
    description = "Direction of the S&P 500 over the next 5 trading days: a small neural net, the fallback of spx-direction."
    library = "scikit-learn StandardScaler + MLPClassifier"

    def __init__(self, split: Split):
        x = split.train_x.astype(np.float64)
        self.scaler = StandardScaler().fit(x)
        self.model = MLPClassifier(
            hidden_layer_sizes=(16, 8), alpha=1.0, batch_size=128, max_iter=40, tol=0.0, n_iter_no_change=40,
            random_state=SEED,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)  # 40 epochs are the plan
            weight = compute_sample_weight("balanced", split.train_y)
            self.model.fit(self.scaler.transform(x), split.train_y, sample_weight=weight)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(self.scaler.transform(x.astype(np.float64)))

    def to_onnx(self) -> onnx.ModelProto:
        def constant(name, values):
            initializers.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
            return name

        initializers = []
        nodes = [
            helper.make_node("Sub", ["features", constant("mean", self.scaler.mean_)], ["centred"], "subtract_mean"),
            helper.make_node("Div", ["centred", constant("scale", self.scaler.scale_)], ["scaled"], "divide_by_scale"),
        ]
        layer, last = "scaled", len(self.model.coefs_) - 1
        for i, (weight, bias) in enumerate(zip(self.model.coefs_, self.model.intercepts_)):
            inputs = [layer, constant(f"weight_{i}", weight), constant(f"bias_{i}", bias)]
            layer = "logits" if i == last else f"dense_{i}"
            nodes.append(helper.make_node("Gemm", inputs, [layer], f"gemm_{i}"))
            if i != last:
                nodes.append(helper.make_node("Relu", [layer], [f"active_{i}"], f"relu_{i}"))
                layer = f"active_{i}"
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=1))
        nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], "argmax", axis=1, keepdims=0))
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            self.name,
            [value("features", TensorProto.FLOAT, [None, len(FEATURES)])],
            [
                value("label", TensorProto.INT64, [None]),
                value("probabilities", TensorProto.FLOAT, [None, len(LABELS)]),
            ],
            initializers,
        )
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])


def encode_onnx(model: Forest | Net) -> bytes:
    """The model's ONNX bytes without anything that varies from run to run."""
    proto = model.to_onnx()
    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "sealcast-example", ""
    proto.doc_string, proto.domain, proto.model_version = "", "", 0
    # skl2onnx writes the default domain twice and the oldest sufficient ai.onnx.ml version.
    domains = sorted({item.domain for item in proto.opset_import})
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(d, {"": OPSET, "ai.onnx.ml": OPSET_ML}[d]) for d in domains)
    proto.ir_version, proto.graph.name, proto.graph.doc_string = 8, model.name, ""
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def run_onnx(encoded: bytes, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities by onnxruntime, single-threaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])
    return tuple(session.run(["label", "probabilities"], {"features": x}))


def measure(name: str, y: np.ndarray, probabilities: np.ndarray) -> dict:
    labels = probabilities.argmax(axis=1)
    return {
        "model": name,
        "accuracy": round(accuracy_score(y, labels), 4),
        "balanced_accuracy": round(balanced_accuracy_score(y, labels), 4),
        "log_loss": round(log_loss(y, probabilities, labels=[0, 1, 2]), 4),
        "predicted_share": {label: round(float((labels == i).mean()), 4) for i, label in enumerate(LABELS)},
    }


def evaluate(split: Split, models: list) -> dict:
    """Out-of-sample metrics beside the baseline that ignores every feature."""
    base = np.bincount(split.train_y, minlength=3) / len(split.train_y)
    constant = np.tile(base, (len(split.test_y), 1))
    return {
        "train": {"from": split.train_span[0], "to": split.train_span[1], "rows": len(split.train_y)},
        "test": {
            "from": str(split.test_days[0].date()),
            "to": str(split.test_days[-1].date()),
            "rows": len(split.test_y),
            "overlapping_labels": f"each label spans {HORIZON_DAYS} days, so about {len(split.test_y) // HORIZON_DAYS} are independent",
            "share": {label: round(float((split.test_y == i).mean()), 4) for i, label in enumerate(LABELS)},
        },
        "in_sample": [measure(m.name, split.train_y, m.probabilities(split.train_x)) for m in models],
        "out_of_sample": [
            measure("baseline: training shares", split.test_y, constant),
            {"model": "baseline: one third each", "log_loss": round(float(np.log(3.0)), 4)},
        ]
        + [measure(m.name, split.test_y, m.probabilities(split.test_x)) for m in models],
    }


def describe(split: Split) -> dict:
    """Per feature over the training rows, in float64 of the float32 values; population std."""
    frame = pd.DataFrame(split.train_x.astype(np.float64), columns=FEATURES)
    stats = {}
    for name, column in frame.items():
        q1, median, q3 = np.quantile(column, [0.25, 0.5, 0.75])
        stats[name] = {
            "mean": float(column.mean()), "std": float(column.std(ddof=0)),
            "min": float(column.min()), "max": float(column.max()),
            "q1": float(q1), "median": float(median), "q3": float(q3),
        }
    return {"rows": len(frame), "from": split.train_span[0], "to": split.train_span[1], "features": stats}


@dataclass(frozen=True)
class Policy:
    """What the manifest says of one feature."""

    least: float  # hard range: outside it the request is refused
    most: float
    outlier: dict | None = None
    impute_median: bool = False  # else a missing value is refused


def z_score(threshold: float, action: str) -> dict:
    return {"detect": {"method": "z_score", "threshold": threshold}, "action": action}


def iqr(factor: float, action: str) -> dict:
    return {"detect": {"method": "iqr", "factor": factor}, "action": action}


def bounds(least: float, most: float, action: str) -> dict:
    return {"detect": {"method": "bounds", "min": least, "max": most}, "action": action}


# Returns cannot fall below -1, but a market with circuit breakers stays well within these ranges; the
# ratio and the z-score of n values cannot pass sqrt(59 / 4) and 19 / sqrt(20) by construction.
POLICIES = {
    "ret_1d": Policy(-0.25, 0.25, z_score(10.0, "clip")),
    "ret_5d": Policy(-0.5, 0.5, z_score(8.0, "clip")),
    "ret_20d": Policy(-0.7, 1.0, z_score(7.0, "clip")),
    "ret_60d": Policy(-0.9, 2.0, z_score(6.0, "clip")),
    "vol_20d": Policy(0.0, 0.25, iqr(10.0, "flag")),
    "vol_ratio_5d_60d": Policy(0.0, 3.9, z_score(6.0, "flag")),
    "rsi_14": Policy(0.0, 100.0),
    "gap_sma_20": Policy(-0.7, 1.0, z_score(9.0, "clip")),
    "gap_sma_50": Policy(-0.8, 1.5, z_score(8.0, "clip")),
    "gap_sma_200": Policy(-0.9, 3.0, z_score(6.0, "clip")),
    "drawdown_252d": Policy(-1.0, 0.0, bounds(-0.6, 0.0, "flag")),
    "range_1d": Policy(0.0, 0.5, iqr(12.0, "flag")),
    "close_location": Policy(0.0, 1.0, impute_median=True),
    "volume_z_20d": Policy(-4.25, 4.25, z_score(5.0, "reject"), impute_median=True),
}


def manifest(name: str, description: str, stats: dict) -> dict:
    """The manifest that `sealcast seal` completes with the digest of the ONNX file."""
    columns = []
    for feature in FEATURES:
        policy, seen = POLICIES[feature], stats["features"][feature]
        missing = {"policy": "impute", "value": seen["median"]} if policy.impute_median else {"policy": "reject"}
        column = {"name": feature, "min": policy.least, "max": policy.most, "missing": missing}
        if policy.outlier:
            column["outlier"] = policy.outlier
        columns.append(column | {"stats": seen})
    return {
        "format": "sealcast.manifest/v1",
        "name": name,
        "version": "1.0.0",
        "description": description,
        "owner": "example-quant-team",
        "algo_id": "EXAMPLE-SPX-0001",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, len(FEATURES)], "columns": columns}],
        "output": {
            "kind": "classification",
            "labels": LABELS,
            "label": "label",
            "probabilities": "probabilities",
            "sum_tolerance": 1e-4,
        },
        "latency_budget_ms": 250,
        "limits": {"symbols": ["SPX"], "max_rows": 1024},
        "fallback": {
            "last_good_max_age_s": 900,
            "neutral": {"label": "hold", "probabilities": [0.0, 1.0, 0.0]},
        },
    }


def is_ordinary(column: dict, x: np.ndarray) -> bool:
    """Whether a column's policies leave all of these values alone, without even a flag."""
    least, most, stats = column["min"], column["max"], column["stats"]
    detect = column.get("outlier", {}).get("detect", {"method": "none"})
    match detect["method"]:
        case "z_score":
            reach = detect["threshold"] * stats["std"]
            least, most = max(least, stats["mean"] - reach), min(most, stats["mean"] + reach)
        case "iqr":
            reach = detect["factor"] * (stats["q3"] - stats["q1"])
            least, most = max(least, stats["q1"] - reach), min(most, stats["q3"] + reach)
        case "bounds":
            least, most = max(least, detect["min"]), min(most, detect["max"])
    return bool(((x >= least) & (x <= most)).all())


def encode_json(value) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def encode_expected(models: list, x: np.ndarray) -> bytes:
    """What scikit-learn itself answers for the rows of features.csv; one row a line."""
    text = {
        "comment": "scikit-learn's own answers (float64, not onnxruntime's) for each row of features.csv",
        "scikit_learn": sklearn.__version__, "classes": LABELS, "tolerance": TOLERANCE, "rows": len(x),
    }
    parts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in text.items()]
    blocks = []
    for model in models:
        probabilities = model.probabilities(x)
        rows = ",\n".join(f"        {json.dumps([float(p) for p in row])}" for row in probabilities)
        blocks.append(
            f'    "{model.name}": {{\n      "library": {json.dumps(model.library)},\n'
            f'      "labels": {json.dumps(probabilities.argmax(axis=1).tolist())},\n'
            f'      "probabilities": [\n{rows}\n      ]\n    }}'
        )
    parts.append('  "models": {\n' + ",\n".join(blocks) + "\n  }")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def encode_csv(header: list[str], days, rows) -> bytes:
    lines = [",".join(header)]
    lines += [f"{day.date()}," + ",".join(row) for day, row in zip(days, rows)]
    return ("\n".join(lines) + "\n").encode()


def shortest(values: np.ndarray) -> list[float]:
    """The float32 values as the short decimals they were rounded to; float32 of them is the same number."""
    short = [round(float(v), DECIMALS) for v in values]
    if not np.array_equal(np.asarray(short, np.float32), values):
        sys.exit("a rounded feature is not the model's float32 input")
    return short


def build() -> tuple[dict[str, bytes], dict]:
    """Every committed file by name, and the metrics."""
    prices = load_prices()
    features = compute_features(prices)
    prove_no_look_ahead(prices, features)
    split = split_by_time(features, compute_outcomes(prices))
    models = [Forest(split), Net(split)]

    files = {f"{model.name}.onnx": encode_onnx(model) for model in models}
    everything = np.vstack([split.train_x, split.test_x])
    for model in models:
        compare(model.name, run_onnx(files[f"{model.name}.onnx"], everything), model.probabilities(everything))

    x, days = split.test_x[-SAMPLE_ROWS:], split.test_days[-SAMPLE_ROWS:]
    rows = [shortest(row) for row in x]
    files["features.csv"] = encode_csv(["date", *FEATURES], days, [[repr(v) for v in row] for row in rows])
    files["outcomes.csv"] = encode_csv(
        ["date", "label", "forward_return_5d"],
        days,
        [[str(y), repr(float(r))] for y, r in zip(split.test_y[-SAMPLE_ROWS:], split.test_forward[-SAMPLE_ROWS:])],
    )
    files["expected.json"] = encode_expected(models, x)
    stats = describe(split)
    files["training-stats.json"] = encode_json(stats)
    for model, file in zip(models, ["manifest.json", "manifest-mlp.json"]):
        contract = manifest(model.name, model.description, stats)
        for i, column in enumerate(contract["inputs"][0]["columns"]):
            if not is_ordinary(column, everything[:, i].astype(np.float64)):
                sys.exit(f"the manifest's policy for {column['name']} would touch a row of the history")
        files[file] = encode_json(contract)
    metrics = evaluate(split, models)
    files["metrics.json"] = encode_json(metrics)
    last = rows[-1]
    files["request-v1.json"] = encode_json(
        {"symbol": "SPX", "features": dict(zip(FEATURES, last))}
    )
    tensor = {"name": "features", "shape": [1, len(FEATURES)], "datatype": "FP32", "data": last}
    files["request-v2.json"] = encode_json({"inputs": [tensor]})
    return files, metrics


def compare(name: str, answer: tuple[np.ndarray, np.ndarray], expected: np.ndarray) -> None:
    """Refuse an ONNX file that does not answer as the training library does."""
    labels, probabilities = answer
    worst = float(np.abs(probabilities - expected).max())
    if worst > TOLERANCE or not np.array_equal(labels, expected.argmax(axis=1)):
        sys.exit(f"{name}: ONNX and scikit-learn differ (probabilities by {worst:.2e})")
    print(f"{name}: ONNX = scikit-learn on {len(expected)} rows, worst difference {worst:.1e}")


def check_committed() -> None:
    """The committed ONNX files answer the committed rows as the committed expectations say."""
    x = pd.read_csv(FOLDER / "features.csv")[FEATURES].to_numpy(np.float32)
    expected = json.loads((FOLDER / "expected.json").read_text())
    for name, answers in expected["models"].items():
        answer = run_onnx((FOLDER / f"{name}.onnx").read_bytes(), x)
        compare(f"committed {name}", answer, np.asarray(answers["probabilities"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the spx-direction example.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    if arguments.check:
        check_committed()
    files, metrics = build()
    print(json.dumps(metrics, indent=2))
    different = []
    for name, content in files.items():
        path = FOLDER / name
        same = path.exists() and path.read_bytes() == content
        if not same:
            different.append(name)
            if not arguments.check:
                path.write_bytes(content)
        print(f"{'same     ' if same else 'DIFFERENT' if arguments.check else 'written  '} {name} ({len(content)} bytes)")
    if arguments.check and different:
        sys.exit(f"retraining gave other bytes for: {', '.join(different)}")


if __name__ == "__main__":
    main()
