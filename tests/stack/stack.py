#!/usr/bin/env python3
"""The AWS-shaped stack on 127.0.0.1: ministack, DynamoDB Local and roto, started and stopped together.

    stack.py run COMMAND...     starts a stack on free ports, runs COMMAND beside it, stops it again
    stack.py up                 starts one that stays, on the ports below; says how to use it
    stack.py env                prints the exports of the one that stays
    stack.py down               stops the one that stays

Ports of the stack that stays: SEALCAST_STACK_PORT (14566) and the three after it. Logs are in .sealcast/stack/.
Needs Python's own library alone; what it starts is installed by install.sh.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from servers import Stack, describe_process, find_free_ports, kill_group

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".sealcast" / "stack"
STAYING = STATE / "local"
FIRST_PORT = 14566
KEPT_RUNS = 3
STARTED_WITHIN_S = 90
STOPPED_WITHIN_S = 20


def main() -> int:
    match sys.argv[1:]:
        case ["run", *command] if command:
            return run(command[1:] if command[0] == "--" else command)
        case ["up"]:
            return up()
        case ["serve"]:
            return serve()
        case ["env"]:
            return show_environment()
        case ["down"]:
            return down()
    print(__doc__, file=sys.stderr)
    return 2


def listen_for_signals() -> list[int]:
    """The list to which every signal that asks us to end is added. No handler raises: what was started between two
    lines would not be known, and be left behind."""
    asked: list[int] = []
    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, lambda number, _frame: asked.append(number))
    return asked


def run(command: list[str]) -> int:
    """Runs a command beside a stack of its own; its status, or 1 where the stack did not start."""
    asked = listen_for_signals()
    STATE.mkdir(parents=True, exist_ok=True)
    forget_old_runs()
    folder = STATE / f"run-{os.getpid()}"
    with Stack(ROOT, folder, find_free_ports(4), asked) as stack:
        status = run_beside(command, {**os.environ, **stack.environment}, asked)
        ended = stack.ended()
        if ended:
            print(f"{', '.join(ended)} ended by itself while the command ran", file=sys.stderr)
        if status != 0 or ended:
            stack.print_logs()
        return status or (1 if ended else 0)


def run_beside(command: list[str], environment: dict[str, str], asked: list[int]) -> int:
    """Runs the command in the terminal's own process group: Ctrl-C reaches it as it reaches us."""
    child = subprocess.Popen(command, env=environment)
    kill_at = None
    while child.poll() is None:
        if asked and kill_at is None:
            if asked[0] != signal.SIGINT:
                child.terminate()
            kill_at = time.monotonic() + STOPPED_WITHIN_S
        elif asked and time.monotonic() > kill_at:
            child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.2)
    return 128 + asked[0] if asked else normalize(child.returncode)


def normalize(status: int) -> int:
    return 128 - status if status < 0 else status


def forget_old_runs() -> None:
    """Ends what a killed run left behind, and removes the logs of all but the newest runs."""
    runs = sorted(STATE.glob("run-*"), key=lambda run: run.stat().st_mtime, reverse=True)
    ended = [run for run in runs if not alive(read(run / "owner.json"))]
    for position, run in enumerate(ended):
        for process in read(run / "processes.json") or []:
            if alive(process):
                kill_group(process["pid"])
        (run / "processes.json").unlink(missing_ok=True)
        if position >= KEPT_RUNS:
            subprocess.run(["rm", "-rf", "--", run], check=True)


def up() -> int:
    if alive(read(STAYING / "owner.json")):
        print("a stack is up already; tests/stack/down.sh stops it")
        return 0
    subprocess.run(["rm", "-rf", "--", STAYING], check=True)
    STAYING.mkdir(parents=True)
    with open(STAYING / "supervisor.log", "wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + STARTED_WITHIN_S
    while not (STAYING / "environment.json").exists():
        if supervisor.poll() is not None or time.monotonic() > until:
            supervisor.terminate()
            print((STAYING / "supervisor.log").read_text(errors="replace")[-4000:], file=sys.stderr)
            print("the stack did not start", file=sys.stderr)
            return 1
        time.sleep(0.1)
    print(f"the stack is up; logs in {STAYING.relative_to(ROOT)}")
    return 0


def serve() -> int:
    """What `up` leaves behind: holds the stack until it is told to stop."""
    first = int(os.environ.get("SEALCAST_STACK_PORT", FIRST_PORT))
    asked = listen_for_signals()
    with Stack(ROOT, STAYING, list(range(first, first + 4)), asked) as stack:
        ready = STAYING / "environment.json"
        whole = ready.with_suffix(".new")
        whole.write_text(json.dumps(stack.environment), encoding="utf-8")
        whole.rename(ready)
        while not asked:
            if ended := stack.ended():
                print(f"{', '.join(ended)} ended by itself", file=sys.stderr)
                return 1
            time.sleep(0.2)
    return 0


def show_environment() -> int:
    environment = read(STAYING / "environment.json")
    if environment is None or not alive(read(STAYING / "owner.json")):
        print("no stack is up; tests/stack/up.sh starts one", file=sys.stderr)
        return 1
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def down() -> int:
    owner = read(STAYING / "owner.json")
    if not alive(owner):
        print("no stack is up")
        return 0
    os.kill(owner["pid"], signal.SIGTERM)
    until = time.monotonic() + STOPPED_WITHIN_S
    while alive(owner):
        if time.monotonic() > until:
            print(f"process {owner['pid']} did not stop within {STOPPED_WITHIN_S} s", file=sys.stderr)
            return 1
        time.sleep(0.1)
    (STAYING / "environment.json").unlink(missing_ok=True)
    print("the stack is down")
    return 0


def read(path: Path):
    """What a file of ours holds; None where it is not there or half written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def alive(process: dict | None) -> bool:
    """Whether that very process still runs: process ids are given again, so its start counts too."""
    return process is not None and describe_process(process["pid"]) == process


if __name__ == "__main__":
    sys.exit(main())
