"""Asks the engine's example `zoo`, one process for many models."""

import json
import pathlib
import queue
import subprocess
import threading

import numpy as np

DEADLINE_S = 120
"""Longest time for one model with all its runs; a debug build on a busy machine is slow."""


class Crashed(Exception):
    """The process ended or did not answer in time: what no model may cause."""


class Engine:
    """The example's process; started again when a model ended it."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self.program, self.folder = program, folder
        self.process = None
        self.lines = queue.Queue()

    def start(self) -> None:
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=pump, args=(self.process.stdout, self.lines), daemon=True).start()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, model: pathlib.Path, runs: list[dict[str, np.ndarray]]) -> dict:
        """The report, its outputs read into arrays by name."""
        job = {"model": str(model), "runs": []}
        for at, inputs in enumerate(runs):
            entries = [self.save(f"in.{at}.{n}", name, values) for n, (name, values) in enumerate(inputs.items())]
            job["runs"].append({"inputs": entries, "outputs": str(self.folder / f"out.{at}")})
        report = self.report(job)
        for run in report["runs"]:
            if "outputs" in run:
                run["outputs"] = {output["name"]: np.load(output["file"]) for output in run["outputs"]}
        return report

    def explain(self, model: pathlib.Path, name: str, background: np.ndarray, asked: np.ndarray) -> dict:
        """The contributions and the expectation, how long they took and what the background takes, or the error."""
        wish = {
            "background": self.save("background", name, background),
            "input": self.save("explained", name, asked),
            "outputs": str(self.folder / "explained"),
        }
        report = self.report({"model": str(model), "runs": [], "explain": wish})
        if report["load"] is not None:
            return {"error": report["load"]["message"]}
        found = report["explain"]
        if "error" not in found:
            found.update({key: np.load(found[key]) for key in ("contributions", "expectation")})
        return found

    def save(self, stem: str, name: str, values: np.ndarray) -> dict:
        """A tensor of a job."""
        file = self.folder / f"{stem}.npy"
        np.save(file, storable(values), allow_pickle=False)
        return {"name": name, "file": str(file)}

    def report(self, job: dict) -> dict:
        """The process's answer to a job."""
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=DEADLINE_S)
        except (BrokenPipeError, queue.Empty) as error:
            self.close()
            raise Crashed(f"no answer within {DEADLINE_S} s, or the process ended") from error
        if line is None:
            code = self.process.wait()
            self.close()
            raise Crashed(f"the process ended with {code}")
        return json.loads(line)


def pump(stream, lines: queue.Queue) -> None:
    """Hands over each line, then None."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def storable(values: np.ndarray) -> np.ndarray:
    """As the example reads it: C order, little-endian, strings as bytes of one width."""
    if values.dtype.kind in "OU":
        values = np.char.encode(values.astype(str), "utf-8") if values.size else values.astype("S1")
    return np.ascontiguousarray(values) if values.ndim else values
