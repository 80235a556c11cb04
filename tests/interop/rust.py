"""Runs the Rust side: `shared/artifact/examples/interop.rs`."""

import functools
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Refused(Exception):
    """Rust refused; the text is the error's code."""


@functools.cache
def build() -> str:
    """Builds the example once and gives its path."""
    command = ["cargo", "build", "-q", "-p", "artifact", "--example", "interop", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    (path,) = {message["executable"] for message in messages if message.get("executable")}
    return path


def run(*args: object, stdin: bytes = b"") -> bytes:
    """Standard output of `interop ARGS`."""
    done = subprocess.run([build(), *map(str, args)], input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.decode().strip())
    return done.stdout
