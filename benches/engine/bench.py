"""Asks every engine every model in turn, and writes what they took: bench.py WORK [--quick] [MODEL ...].

WORK holds the models; results.json is written there, and by a run of all models a table into docs/performance.md: one of
some models, which takes about a minute each, is for looking at them alone. The engines of one model run as processes of their own, at the same time, but only one at a time has something to do: they are asked in rounds,
so that what else the machine does falls on all of them. A figure is the median of the rounds.

ENGINE_BIN and ONNXRUNTIME_BIN name the two Rust programs; ORT_DYLIB_PATH the library of the second.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "performance.md"
START, END = "<!-- bench-engine: start -->", "<!-- bench-engine: end -->"
BATCHES = (1, 64, 1024)
TOLERANCE = 1e-4
"""Of answers, relative to the largest of them: the engines sum in orders of their own."""

OURS, PYTHON, RUST = "ours", "onnxruntime, Python", "onnxruntime, Rust"
PACKED = "ours, packed"
"""Trees in the form that is served: it differs from ONNX in how it loads."""
OTHERS = {
    "xgboost": ("xgboost", "tl2cgen"),
    "lightgbm": ("lightgbm", "lleaves", "tl2cgen"),
    "catboost": ("catboost",),
}
TREES = ("forest", "xgboost", "lightgbm", "catboost")


class Engine:
    """A process that holds one model."""

    def __init__(self, command, model):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, str(model), str(model.with_suffix(".f32"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.loads, self.calls = [], {rows: [] for rows in BATCHES}

    def ask(self, question):
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise RuntimeError(f"{self.process.args} ended while it was asked to {question}")
        return [float(word) for word in reply.split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def result(self):
        batches = {}
        for rows, calls in self.calls.items():
            if not calls:
                continue
            median, slow = (statistics.median(call[at] for call in calls) for at in (0, 1))
            batches[rows] = {
                "p50_us": median,
                "p99_us": slow,
                "rows_per_second": rows / median * 1e6,
                "calls": sum(int(call[2]) for call in calls),
            }
        return {
            "load_us": statistics.median(self.loads),
            "peak_memory_kib": int(self.ask("memory")[0]),
            "batches": batches,
        }


def is_trees(model):
    return model.split("-")[0] in TREES


def commands(model):
    python = [sys.executable, str(HERE / "contender.py")]
    engines = {
        OURS: [os.environ["ENGINE_BIN"]],
        PYTHON: [*python, "onnxruntime"],
        RUST: [os.environ["ONNXRUNTIME_BIN"]],
    }
    family = model.split("-")[0]
    return engines | {other: [*python, other] for other in OTHERS.get(family, ())}


def compare(model, engines):
    """Holds the answers to onnxruntime's: an engine that computes something else is no contender."""
    expected = np.array(engines[PYTHON].ask("answers 64"))
    for name, engine in engines.items():
        found = np.array(engine.ask("answers 64"))
        error = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
        if not error <= TOLERANCE:
            raise SystemExit(f"{model}: {name} is off by {error:.1e} of the largest answer")


def measure(model, work, rounds, milliseconds):
    engines = {name: Engine(command, work / f"{model}.onnx") for name, command in commands(model).items()}
    if is_trees(model):
        engines[PACKED] = Engine([os.environ["ENGINE_BIN"]], work / f"{model}.packed")
    compare(model, engines)
    for _ in range(rounds):
        for engine in engines.values():
            engine.loads.extend(engine.ask("load"))
        for rows in BATCHES:
            for engine in (engine for name, engine in engines.items() if name != PACKED):
                engine.calls[rows].append(engine.ask(f"measure {rows} {milliseconds}"))
    results = {name: engine.result() for name, engine in engines.items()}
    for engine in engines.values():
        engine.close()
    return results


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return {"cpu": name, "cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()}


def time(us):
    if us < 10:
        return f"{us:.2f} µs"
    return f"{us:.0f} µs" if us < 10_000 else f"{us / 1e3:.0f} ms"


def ratio(results, other, value):
    return value(results[other]) / value(results[OURS])


def load_ratio(engines):
    """How much faster the form that is served loads than the faster of onnxruntime's two."""
    own = engines[PACKED if PACKED in engines else OURS]
    return min(engines[name]["load_us"] for name in (PYTHON, RUST)) / own["load_us"]


def table(results):
    lines = [
        "| Model | rows | ours p50 / p99 | onnxruntime, Python p50 / p99 | onnxruntime, Rust p50 / p99 "
        "| ahead of Python / Rust | others, p50 |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, engines in results.items():
        for rows in BATCHES:
            calls = {name: engine["batches"][rows] for name, engine in engines.items() if name != PACKED}
            both = [f"{time(calls[name]['p50_us'])} / {time(calls[name]['p99_us'])}" for name in (OURS, PYTHON, RUST)]
            ahead = [f"{ratio(calls, name, lambda call: call['p50_us']):.2f} ×" for name in (PYTHON, RUST)]
            others = [f"{name} {time(calls[name]['p50_us'])}" for name in calls if name not in (OURS, PYTHON, RUST)]
            name = model if rows == BATCHES[0] else ""
            lines.append(f"| {name} | {rows} | {' | '.join(both)} | {' / '.join(ahead)} | {', '.join(others)} |")
    lines += [
        "",
        "| Model | load: packed | from ONNX | onnxruntime, Python | Rust | ahead of the faster "
        "| memory: packed | from ONNX | onnxruntime, Python | Rust |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model, engines in results.items():
        names = (PACKED, OURS, PYTHON, RUST)
        loads = [time(engines[name]["load_us"]) if name in engines else "" for name in names]
        memory = [f"{engines[name]['peak_memory_kib'] / 1024:.0f} MiB" if name in engines else "" for name in names]
        lines.append(f"| {model} | {' | '.join(loads)} | {load_ratio(engines):.1f} × | {' | '.join(memory)} |")
    return lines


def goals(results):
    """The goals, and where they are missed: behind the better of the two uses of onnxruntime."""
    lines = []
    for model, engines in results.items():
        family = model.split("-")[0]
        wanted = {1: 1.0}
        if family in TREES:
            wanted = dict.fromkeys(BATCHES, 5.0)
        elif family in ("logistic", "pipeline", "mlp"):
            wanted[1024] = 0.9
        elif family in ("lstm", "gru", "tcn"):
            wanted[64] = 0.9
        for rows, goal in wanted.items():
            times = {name: engines[name]["batches"][rows]["p50_us"] for name in (OURS, PYTHON, RUST)}
            found = min(times[PYTHON], times[RUST]) / times[OURS]
            if found < goal:
                lines.append(f"- {model}, {rows} rows: {found:.2f} × where {goal:g} × is the goal.")
        if family in TREES:
            found = load_ratio(engines)
            if found < 20:
                lines.append(f"- {model}, load: {found:.1f} × where 20 × is the goal.")
    return ["Goals missed, against the faster of onnxruntime's two:", "", *lines] if lines else ["Every goal is met."]


def write(report):
    state = report["machine"]
    body = [
        START,
        f"{report['date']}, {state['cores']} cores ({state['cpu']}), onnxruntime {report['onnxruntime']}; load average "
        f"{report['load_before']:.1f} before and {state['load'][0]:.1f} after. {report['rounds']} rounds of "
        f"{report['milliseconds']} ms a measurement, one thread each.",
        "",
        *table(report["models"]),
        "",
        *goals(report["models"]),
        END,
    ]
    before, rest = DOCUMENT.read_text().split(START)
    after = rest.split(END)[1]
    DOCUMENT.write_text(before + "\n".join(body) + after)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_intermixed_args()
    rounds, milliseconds = (3, 50) if options.quick else (9, 150)
    load_before = os.getloadavg()[0]
    names = options.models or [file.stem for file in sorted(options.work.glob("*.onnx"))]
    results = {}
    for name in names:
        results[name] = measure(name, options.work, rounds, milliseconds)
        print("\n".join(table({name: results[name]})), flush=True)
    report = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "load_before": load_before,
        "onnxruntime": onnxruntime.__version__,
        "rounds": rounds,
        "milliseconds": milliseconds,
        "models": results,
    }
    (options.work / "results.json").write_text(json.dumps(report, indent=1))
    if not options.no_write and not options.models:
        write(report)


if __name__ == "__main__":
    main()
