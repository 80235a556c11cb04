"""run.sh gives its command a stack, takes the command's status, and leaves nothing behind however it ends."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.sh")
ADDRESSES = ("MINISTACK", "DYNAMODB_LOCAL", "KMS", "ISSUER")
SHOW = "; ".join(f"echo $SEALCAST_TEST_{name}" for name in ADDRESSES)


def start(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [RUN, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def read_addresses(process: subprocess.Popen) -> list[str]:
    """The addresses that the command prints first: from then on it runs, and everything listens."""
    return [process.stdout.readline().strip() for _ in ADDRESSES]


def test_the_commands_status_is_run_shs_and_nothing_listens_afterwards():
    for status in (0, 7):
        process = start("bash", "-c", f"{SHOW}; env | grep ^AWS_; exit {status}")
        addresses = read_addresses(process)
        # communicate() would miss what was read ahead together with the addresses.
        output, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(timeout=60) == status, errors
        assert all(address.startswith("http://127.0.0.1:") for address in addresses), addresses
        assert f"AWS_ENDPOINT_URL={addresses[0]}\n" in output
        assert not any(map(listens, addresses))
        assert ("the last lines of" in errors) == (status != 0), errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_and_the_stack(number):
    process = start("bash", "-c", f"{SHOW}; exec sleep 60")
    addresses = read_addresses(process)
    assert all(map(listens, addresses))
    # Ctrl-C and a closed terminal reach every process in the foreground; SIGTERM whom it is sent to.
    os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + number, -number)
    assert not any(map(listens, addresses))


def test_a_signal_during_the_start_ends_what_was_started():
    process = start("true")
    # run.sh becomes stack.py, which keeps its process id.
    listed = RUN.parents[2] / ".sealcast" / "stack" / f"run-{process.pid}" / "processes.json"
    until = time.monotonic() + 30
    while not listed.exists() and time.monotonic() < until:
        time.sleep(0.01)
    servers = json.loads(listed.read_text(encoding="utf-8"))
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert servers and not listed.exists()
    for server in servers:
        with pytest.raises(ProcessLookupError):
            os.kill(server["pid"], 0)


def test_what_a_killed_run_leaves_is_ended_by_the_next():
    process = start("bash", "-c", f"{SHOW}; exec sleep 60")
    addresses = read_addresses(process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert any(map(listens, addresses)), "nothing was left, so that this tests nothing"
    assert start("true").wait(60) == 0
    until = time.monotonic() + 10
    while any(map(listens, addresses)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(listens, addresses))
    os.killpg(process.pid, signal.SIGKILL)
