#!/usr/bin/env python3
"""Computes a log's hashes again with nothing but Python's standard library.

    python verify_log.py log DIR              the entries under DIR/tile/entries lead to the root of DIR/checkpoint
    python verify_log.py proof PROOF ENTRY    the entry's bytes lead to the root of the checkpoint in its proof file

The checkpoint's signature is not verified: the standard library has no Ed25519. Verify it by other means
(verify_log.go does), or compare the root with one that you trust. Exit code 0 where all is right, 1 where not.
"""

import base64
import hashlib
import os
import sys


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def checkpoint(text):
    lines = text.split("\n")
    if len(lines) < 5 or not lines[1].isdecimal() or lines[3]:
        raise ValueError("not a checkpoint: expected origin, size, root, an empty line and signatures")
    return lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)


def root_of_entries(directory, size):
    peaks = []  # (leaves, hash) of perfect subtrees, from left to right
    for first in range(0, size, 256):
        number, width = first // 256, min(256, size - first)
        path, above = f"{number % 1000:03}", number // 1000
        while above:
            path, above = f"x{above % 1000:03}/{path}", above // 1000
        path += f".p/{width}" if width < 256 else ""
        with open(os.path.join(directory, "tile/entries", path), "rb") as file:
            for _ in range(width):
                length = int.from_bytes(file.read(2), "big")
                entry = file.read(length)
                if len(entry) != length:
                    raise ValueError(f"bundle {path} ends too early")
                peaks.append((1, leaf(entry)))
                while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
                    (leaves, right), (_, left) = peaks.pop(), peaks.pop()
                    peaks.append((2 * leaves, node(left, right)))
            if file.read(1):
                raise ValueError(f"bytes follow the last entry of bundle {path}")
    root = peaks.pop()[1] if peaks else hashlib.sha256().digest()
    while peaks:
        root = node(peaks.pop()[1], root)
    return root


def root_of_proof(index, size, hash_, proof):
    """RFC 9162, 2.1.3.2."""
    last = size - 1
    if not 0 <= index <= last:
        raise ValueError("the tree has no such entry")
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if index % 2 or index == last:
            hash_ = node(sibling, hash_)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            hash_ = node(hash_, sibling)
        index, last = index // 2, last // 2
    if last:
        raise ValueError("the proof is too short")
    return hash_


def main(command, *paths):
    if command == "log":
        with open(os.path.join(paths[0], "checkpoint"), encoding="utf-8") as file:
            origin, size, root = checkpoint(file.read())
        found, what = root_of_entries(paths[0], size), f"log {origin} of {size} entries"
    else:
        with open(paths[0], encoding="utf-8") as file:
            head, _, note = file.read().partition("\n\n")
        with open(paths[1], "rb") as file:
            entry = file.read()
        lines = [line for line in head.split("\n") if not line.startswith("extra ")]
        if len(lines) < 2 or lines[0] != "c2sp.org/tlog-proof@v1":
            raise ValueError("not a proof file of version 1")
        index, (origin, size, root) = int(lines[1].removeprefix("index ")), checkpoint(note)
        proof = [base64.b64decode(line, validate=True) for line in lines[2:]]
        found, what = root_of_proof(index, size, leaf(entry), proof), f"entry {index} of {size} in {origin}"
    if found != root:
        raise ValueError(f"{what}: leads to the root {found.hex()}, the checkpoint says {root.hex()}")
    print(f"{what}: the root is the checkpoint's (its signature is not verified)")


if __name__ == "__main__":
    if len(sys.argv) != {"log": 3, "proof": 4}.get("".join(sys.argv[1:2]), 0):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
