#!/usr/bin/env python3
"""What the README promises of `make run`, on the binaries in the directory given as the only argument.

Standard library only. Prints one line a promise and a closing count.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(sys.argv[1]).resolve()
SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {SECONDS} s")


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Run:
    """One `examples/run.sh`, in a session of its own as a terminal would give it."""

    def __init__(self, data, port):
        self.data = pathlib.Path(data)
        self.log = self.data.with_name(f"run-{time.monotonic_ns()}.log")
        env = os.environ | {"SEALCAST_ADDR": f"127.0.0.1:{port}", "SEALCAST_DATA": str(data)}
        self.process = subprocess.Popen(
            [str(ROOT / "examples/run.sh"), str(BINARIES)],
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
            # A caller that ignores SIGHUP (nohup) would hand that down, and no terminal could close.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )

    def text(self):
        return self.log.read_text()

    def served(self):
        """Waits for the last line; gives all that was printed."""

        def finished():
            assert self.process.poll() in (None, 0), self.text()
            return "Ctrl-C stops the server" in self.text()

        wait_for("the first prediction", finished)
        return self.text()

    def server(self):
        return int((self.data / "server.pid").read_text())


def events(data):
    for stream in sorted(pathlib.Path(data, "audit").glob("*.jsonl")):
        for line in stream.read_text().splitlines()[1:]:
            yield stream, json.loads(line)["entry"]


def check(name, condition, detail=""):
    assert condition, f"{name}: {detail}"
    print(f"ok   {name}", flush=True)
    check.passed += 1


check.passed = 0


def commands(page, after, block=0):
    """The lines of a block of commands of a page, the block being counted from the sentence `after` on."""
    text = (ROOT / page).read_text().split(after, 1)[1]
    return re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.M | re.S)[block]


def documented(data, port, receipt):
    """What the pages show is run as it stands there, beside a folder `.sealcast`."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, ".sealcast").symlink_to(data)
        pathlib.Path(folder, "docs").symlink_to(ROOT / "docs")
        env = os.environ | {"PATH": f"{BINARIES}:{os.environ['PATH']}"}

        def run(name, script):
            # The server of this test has another port than that of the pages, which is also the command's default.
            script = script.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            script = script.replace("audit query --token", f"audit query --server http://127.0.0.1:{port} --token")
            done = subprocess.run(["bash", "-euxc", script], cwd=folder, env=env, capture_output=True, text=True)
            check(name, done.returncode == 0, done.stdout + done.stderr)

        page = "docs/audit.md"
        run("the README's questions are answered", commands("README.md", "Asking what was recorded").replace("RECEIPT", receipt))
        position = receipt.rsplit(":", 1)[0]
        script = commands(page, "What they take, brought along").replace("STREAM:SEQ", position)
        run("what verifiers of others take is written", script)
        run("Python's standard library verifies it", commands(page, "[`verify/verify_log.py`](verify/verify_log.py) computes"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        data, port = pathlib.Path(folder, "data"), free_port()
        first = Run(data, port)
        try:
            scenario(first, data, port)
        except BaseException:
            print(first.text(), file=sys.stderr)
            raise
        finally:
            pid = data / "server.pid"
            if pid.exists() and is_running(int(pid.read_text())):
                os.kill(int(pid.read_text()), signal.SIGKILL)
    print(f"{check.passed} passed, 0 failed")


def scenario(first, data, port):
    text = first.served()
    check("a prediction is printed", re.search(r"label\s+(sell|hold|buy)", text), text)
    receipt = re.search(r"[0-9a-f]{32}:\d+:[0-9a-f]{64}", text)
    check("its receipt is printed", receipt, text)
    check("its record is verified", "verified" in text, text)
    proven = re.search(r"proven +entry (\d+) of (\d+)", text)
    check("its place in the sealed log is proven", proven, text)
    check("and verified by two files and a key", f"verified           entry {proven[1]} of {proven[2]}" in text, text)
    check("both files are kept", len(list((data / "proofs").iterdir())) == 2)
    check("a curl line to try is printed", f"curl -s http://127.0.0.1:{port}/v1/predict" in text, text)

    token_file = data / "predictor.token"
    check("the token is readable by its owner only", token_file.stat().st_mode & 0o777 == 0o600)
    check("so is the auditor's", (data / "auditor.token").stat().st_mode & 0o777 == 0o600)
    body = (ROOT / "examples/spx-direction/request-v1.json").read_bytes()
    token = token_file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/predict", body, headers)

    def answer():
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    check("what the curl line asks is answered", answer()["label"] in ("sell", "hold", "buy"))

    documented(data, port, receipt[0])

    server = first.server()
    os.killpg(first.process.pid, signal.SIGHUP)
    first.process.wait(timeout=10)
    time.sleep(0.5)
    check("the server goes on when the terminal is closed", is_running(server) and answer()["label"])

    again = Run(data, port)
    code = again.process.wait(timeout=SECONDS)
    check("a second server on the same data is refused with the reason", code != 0 and "in use" in again.text(), again.text())

    os.kill(server, signal.SIGTERM)
    wait_for("the server's end", lambda: not is_running(server))
    before = list(events(data))
    check("SIGTERM stops it cleanly, and it says so in its stream", before[-1][1]["kind"] == "process_stopped", before[-1])
    keys = {path.name: path.read_bytes() for path in (data / "keys").iterdir() if path.is_file()}

    second = Run(data, port)
    try:
        second.served()
        check("a second run keeps the keys", keys == {p.name: p.read_bytes() for p in (data / "keys").iterdir() if p.is_file()})
        after = {(stream.name, entry["seq"]) for stream, entry in events(data)}
        check("a second run keeps every event", {(stream.name, entry["seq"]) for stream, entry in before} < after)
        os.kill(second.process.pid, signal.SIGTERM)
        second.process.wait(timeout=SECONDS)
        wait_for("the server's end", lambda: not is_running(second.server()))
        check("SIGTERM to `make run`'s script stops the server too", second.process.returncode == 0)
    except BaseException:
        print(second.text(), file=sys.stderr)
        raise


main()
