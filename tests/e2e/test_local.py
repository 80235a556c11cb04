"""`cargo lambda invoke` with the files of events/, as the README shows it, on the stores of the deployed stack.

`make local` builds the function and starts it beside the emulator; here it is built already, so the emulator starts
alone and the function beside it.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

CARGO_LAMBDA = ROOT / ".venv-stack" / "bin" / "cargo-lambda"
STARTED_WITHIN_S = 120
"""It asks cargo first, which waits for every other cargo on the machine."""
EVENTS = ROOT / "events" / "predict"


@pytest.fixture(scope="module")
def port(stack, tmp_path_factory) -> Iterator[int]:
    """The port of an emulator that hands requests to predict."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    live = stack.client("lambda").get_function_configuration(FunctionName=stack["PREDICT_FUNCTION"], Qualifier="live")
    address = f"127.0.0.1:{port}"
    function = {
        "AWS_LAMBDA_RUNTIME_API": f"http://{address}/.rt/predict",
        "AWS_LAMBDA_FUNCTION_NAME": "predict",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        **live["Environment"]["Variables"],
    }
    binary = os.path.join(os.path.dirname(os.environ["SEALCAST_E2E_CLI"]), "predict")
    watch = [CARGO_LAMBDA, "lambda", "watch", "--only-lambda-apis", "-A", "127.0.0.1", "-P", str(port)]
    log = tmp_path_factory.mktemp("local") / "log"
    with open(log, "wb") as output:
        started = []
        try:
            started.append(subprocess.Popen(watch, stdout=output, stderr=output))
            wait_until_listening(started[0], port, log)
            started.append(subprocess.Popen([binary], env={**os.environ, **function}, stdout=output, stderr=output))
            yield port
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def wait_until_listening(process: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"cargo lambda watch did not start within {STARTED_WITHIN_S} s: {log.read_text()}")


@pytest.mark.parametrize(
    ("event", "status", "word"),
    [
        ("v1-iam.json", 200, '"answered_by":"spx-direction@1.0.0"'),
        ("v1-jwt.json", 200, '"receipt"'),
        ("v2-health-ready.json", 200, '"ready":true'),
        ("v1-bad-json.json", 400, "request.malformed_json"),
        ("v1-no-authorizer.json", 401, "auth.missing"),
    ],
)
def test_an_event_is_answered(port, event, status, word):
    command = [CARGO_LAMBDA, "lambda", "invoke", "predict", "-A", "127.0.0.1", "-P", str(port)]
    done = subprocess.run(
        [*command, "--data-file", EVENTS / event], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["statusCode"] == status, answer
    assert word in answer["body"], answer
