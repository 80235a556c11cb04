#!/usr/bin/env python3
"""Runs a command beside a server that serves the example's release, and stops the server again.

    serve.py --server BIN --cli BIN --example DIR [--data DIR] [--latency-budget-ms N] -- COMMAND...

The command finds SEALCAST_ADDR (HOST:PORT on loopback), SEALCAST_DATA, SEALCAST_TOKEN_FILE, SEALCAST_EXAMPLE and
SEALCAST_SERVER_PID in its environment. Exits with the command's status, or with 1 where the server did not start or
did not stop cleanly. Without --data the data directory is a temporary one and is removed at the end. With
--latency-budget-ms the models are sealed with that budget: the example's own is meant for a build with optimisation
on a machine that is not busy, and a model that exceeds it is answered for by the fallback. Needs nothing but Python's
own library.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY_WITHIN_S = 60
STOPPED_WITHIN_S = 30
LIVE, FALLBACK = "spx-direction", "spx-direction-mlp"


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs a command beside a server that serves the example's release.")
    parser.add_argument("--server", type=Path, required=True, help="the server's binary")
    parser.add_argument("--cli", type=Path, required=True, help="the sealcast binary")
    parser.add_argument("--example", type=Path, required=True, help="the folder examples/spx-direction")
    parser.add_argument("--data", type=Path, help="an empty folder for the data; a temporary one without it")
    parser.add_argument("--latency-budget-ms", type=int, help="instead of the example's own budget")
    parser.add_argument("command", nargs="+", help="the command and its arguments, after --")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.data is None:
            given.data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealcast-")))
        prepare(given)
        return run_beside(given)


def prepare(given: argparse.Namespace) -> None:
    """Keys, a token, both models of the example sealed and pushed, and a release of them that is live."""
    cli, example, data = given.cli.resolve(), given.example.resolve(), given.data.resolve()

    def sealcast(*arguments: str | Path) -> None:
        done = subprocess.run([cli, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"sealcast {' '.join(map(str, arguments))} failed: {done.stdout}{done.stderr}")

    where = ("--data", data)
    sealcast("keygen", *where)
    token = ("--principal", "example-client", "--role", "predictor", "--out", data / "predictor.token")
    sealcast("token", "create", *where, *token)
    for model, name in ((LIVE, "manifest.json"), (FALLBACK, "manifest-mlp.json")):
        sealed, manifest = data / f"sealed-{model}", data / f"{model}.json"
        manifest.write_text(json.dumps(read_manifest(example / name, given.latency_budget_ms)), encoding="utf-8")
        background = ("--background", example / "features.csv")
        sealcast("seal", example / f"{model}.onnx", "--manifest", manifest, *background, *where, "--out", sealed)
        sealcast("push", sealed, *where)
    models = ("--live", f"{LIVE}@1.0.0", "--fallback", f"{FALLBACK}@1.0.0={LIVE}")
    sealcast("release", "create", *where, *models, "--created-by", "example-releaser")
    sealcast("release", "activate", "r-000001", *where, "--activated-by", "example-releaser")


def read_manifest(path: Path, latency_budget_ms: int | None) -> dict:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if latency_budget_ms is not None:
        manifest["latency_budget_ms"] = latency_budget_ms
    return manifest


def run_beside(given: argparse.Namespace) -> int:
    data = given.data.resolve()
    host, port = "127.0.0.1", find_free_port()
    environment = {
        **os.environ,
        "SEALCAST_ADDR": f"{host}:{port}",
        "SEALCAST_DATA": str(data),
        "SEALCAST_TOKEN_FILE": str(data / "predictor.token"),
        "SEALCAST_EXAMPLE": str(given.example.resolve()),
    }
    log = data / "server.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(
            [given.server.resolve()], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    status = 1
    try:
        wait_until_ready(server, host, port)
        environment["SEALCAST_SERVER_PID"] = str(server.pid)
        status = subprocess.run(given.command, env=environment).returncode
        if server.poll() is not None:
            print(f"the server ended by itself with {server.returncode}", file=sys.stderr)
            status = status or 1
    finally:
        stopped = stop(server)
        if status != 0 or not stopped:
            print(f"--- the server's last words ---\n{read_tail(log)}", file=sys.stderr)
    return status if stopped else status or 1


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(server: subprocess.Popen, host: str, port: int) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode} before it was ready")
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise SystemExit(f"the server was not ready within {READY_WITHIN_S} s")


def stop(server: subprocess.Popen) -> bool:
    """Ends the server as an operator would; true where it ended by itself and with success."""
    if server.poll() is None:
        server.terminate()
    try:
        return server.wait(STOPPED_WITHIN_S) == 0
    except subprocess.TimeoutExpired:
        print(f"the server did not stop within {STOPPED_WITHIN_S} s", file=sys.stderr)
        server.kill()
        server.wait()
        return False


def read_tail(log: Path) -> str:
    return log.read_bytes()[-4000:].decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
