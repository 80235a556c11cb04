"""One engine with one model, asked line by line: contender.py ENGINE MODEL ROWS.

MODEL is the path of MODEL.onnx; an engine that reads another form finds it beside. The questions and answers are those
of src/contender.rs.
"""

import os
import pathlib
import sys
import time

import numpy as np

MIN_CALLS = 5


class Onnxruntime:
    def __init__(self, stem):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # CatBoost says the wrong shape of its output; a warning a call would be measured.
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            str(stem.with_suffix(".onnx")), options, providers=["CPUExecutionProvider"]
        )
        spec = self.session.get_inputs()[0]
        self.name, self.row = spec.name, spec.shape[1:]

    def batch(self, values):
        return {self.name: values}

    def run(self, batch):
        return self.session.run(None, batch)[-1]


class Lleaves:
    """LightGBM's trees, compiled by LLVM."""

    def __init__(self, stem):
        import lleaves

        cache = stem.with_suffix(".lleaves")
        self.model = lleaves.Model(model_file=str(stem.with_suffix(".txt")))
        self.model.compile(cache=str(cache))
        self.row = [self.model.num_feature()]

    def batch(self, values):
        return values.astype(np.float64)

    def run(self, batch):
        return self.model.predict(batch, n_jobs=1)


class Tl2cgen:
    """Trees, compiled from C."""

    def __init__(self, stem):
        import tl2cgen
        import treelite

        library = stem.with_suffix(".tl2cgen.so")
        if not library.exists():
            if stem.name.startswith("xgboost"):
                model = treelite.frontend.load_xgboost_model(str(stem.with_suffix(".ubj")))
            else:
                model = treelite.frontend.load_lightgbm_model(str(stem.with_suffix(".txt")))
            tl2cgen.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 16})
        self.tl2cgen = tl2cgen
        self.model = tl2cgen.Predictor(str(library), nthread=1)
        self.row = [self.model.num_feature]

    def batch(self, values):
        return self.tl2cgen.DMatrix(values, dtype="float32")

    def run(self, batch):
        return self.model.predict(batch)


class Xgboost:
    def __init__(self, stem):
        import xgboost

        self.model = xgboost.Booster({"nthread": 1}, model_file=str(stem.with_suffix(".ubj")))
        self.row = [self.model.num_features()]

    def batch(self, values):
        return values

    def run(self, batch):
        return self.model.inplace_predict(batch)


class Lightgbm:
    def __init__(self, stem):
        import lightgbm

        self.model = lightgbm.Booster({"num_threads": 1}, model_file=str(stem.with_suffix(".txt")))
        self.row = [self.model.num_feature()]

    def batch(self, values):
        return values

    def run(self, batch):
        return self.model.predict(batch, num_threads=1)


class Catboost:
    def __init__(self, stem):
        import catboost

        self.model = catboost.CatBoostRegressor().load_model(str(stem.with_suffix(".cbm")))
        self.row = [len(self.model.feature_names_)]

    def batch(self, values):
        return values

    def run(self, batch):
        return self.model.predict(batch, thread_count=1)


ENGINES = {kind.__name__.lower(): kind for kind in (Onnxruntime, Lleaves, Tl2cgen, Xgboost, Lightgbm, Catboost)}


def measure(engine, values, rows, seconds):
    batches = [engine.batch(np.ascontiguousarray(values[at : at + rows])) for at in range(0, len(values), rows)]
    engine.run(batches[0])
    times, clock = [], time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    at = 0
    while True:
        batch = batches[at % len(batches)]
        before = clock()
        engine.run(batch)
        after = clock()
        times.append(after - before)
        at += 1
        if at >= MIN_CALLS and after >= end:
            break
    times.sort()
    median, slow = times[len(times) // 2], times[len(times) * 99 // 100]
    return f"{median / 1e3:.3f} {slow / 1e3:.3f} {len(times)}"


def peak_memory():
    status = pathlib.Path("/proc/self/status").read_text()
    return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))


def main():
    # Libraries print what they have to say: it goes where it does not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, model, rows = sys.argv[1:]
    stem = pathlib.Path(model).with_suffix("")
    engine = ENGINES[name](stem)
    values = np.fromfile(rows, dtype="<f4").reshape(-1, *engine.row)
    for line in sys.stdin:
        match line.split():
            case ["load"]:
                before = time.perf_counter_ns()
                other = ENGINES[name](stem)
                reply = f"{(time.perf_counter_ns() - before) / 1e3:.3f}"
                del other
            case ["measure", count, milliseconds]:
                reply = measure(engine, values, int(count), int(milliseconds) / 1e3)
            case ["answers", count]:
                found = np.ravel(engine.run(engine.batch(values[: int(count)])))
                reply = " ".join(repr(float(value)) for value in found)
            case ["memory"]:
                reply = peak_memory()
            case other:
                raise SystemExit(f"{other} is not understood")
        print(reply, file=answers, flush=True)


if __name__ == "__main__":
    main()
