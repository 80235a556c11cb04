#!/usr/bin/env python3
"""Verifies one audit stream with nothing but its file and the registration key's public half.

    python verify_stream.py STREAM.jsonl stream-registration.pub.pem [STREAM:SEQ:LEAF_HASH ...]

Each further argument is a receipt whose event must stand in the stream. Exit code 0 where all is right, 1 where
anything is not. Needs Python 3.9 and the package `cryptography`. The signed bytes are cut out of each line as they
stand, so nothing is written in canonical form again. docs/audit.md says what this proves, and what it does not.
"""

import base64
import hashlib
import json
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

REGISTRATION = re.compile(rb'\{"registration":(\{.*\}),"key_id":("(?:[^"\\]|\\.)*"),"sig":"([A-Za-z0-9+/]{85}[AQgw]==)"\}')
ENTRY = re.compile(rb'\{"entry":(\{.*\}),"sig":"([A-Za-z0-9+/]{85}[AQgw]==)"\}')


def verify(lines, registrar):
    """Gives (stream, leaf hashes of the events, whether it is closed); raises ValueError at the first fault."""
    try:
        signed, _, signature = REGISTRATION.fullmatch(next(lines, b"")).groups()
        registrar.verify(base64.b64decode(signature), signed)
        registration = json.loads(signed)
        if registration["format"] != "sealcast.stream/v1":
            raise ValueError("unknown format")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(registration["public_key"]))
    except (AttributeError, InvalidSignature, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"registration: {describe(error)}") from error
    prev, leaves, closed = leaf_hash(signed), [], False
    for seq, line in enumerate(lines):
        try:
            entry, signature = ENTRY.fullmatch(line).groups()
            key.verify(base64.b64decode(signature), entry)
            event = json.loads(entry)
            expected = ("sealcast.event/v1", registration["stream"], seq, prev)
            if (event["format"], event["stream"], event["seq"], event["prev"]) != expected:
                raise ValueError("format, stream, seq or prev is another: missing, doubled, moved or out of order")
            if closed:
                raise ValueError("follows the event that closed the stream")
            prev, closed = leaf_hash(entry), event["kind"] == "process_stopped"
        except (AttributeError, InvalidSignature, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"event {seq}: {describe(error)}") from error
        leaves.append(prev)
    return registration["stream"], leaves, closed


def leaf_hash(entry):
    """RFC 6962: SHA-256 of a zero byte and the entry."""
    return hashlib.sha256(b"\0" + entry).hexdigest()


def describe(error):
    if isinstance(error, InvalidSignature):
        return "the signature does not verify"
    return "not a line of this form" if isinstance(error, AttributeError) else f"{error}"


def read_whole_lines(path):
    """The lines of a file. What follows the last line feed was never acknowledged, and is left out."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]
            else:
                print(f"left out: {len(line)} bytes after the last line feed", file=sys.stderr)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "rb") as file:
        registrar = load_pem_public_key(file.read())
    if not isinstance(registrar, Ed25519PublicKey):
        sys.exit(f"{sys.argv[2]}: expected an Ed25519 public key")
    try:
        stream, leaves, closed = verify(read_whole_lines(sys.argv[1]), registrar)
    except ValueError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    for receipt in sys.argv[3:]:
        name, _, rest = receipt.partition(":")
        seq, _, leaf = rest.partition(":")
        if name != stream or not seq.isdecimal() or int(seq) >= len(leaves) or leaves[int(seq)] != leaf:
            sys.exit(f"{sys.argv[1]}: the event of receipt {receipt} does not stand in it")
    print(f"stream {stream}: {len(leaves)} events verified, {'closed' if closed else 'open'}")


if __name__ == "__main__":
    main()
