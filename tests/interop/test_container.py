"""Three implementations of the container: Rust, `cobblestone.py`, and the one in `cryptography`."""

import hashlib
import json
import os

import cobblestone
import pytest
import rust
import vectors
from cryptography import cobblestone as library
from cryptography.exceptions import InvalidTag

CASES = json.loads(vectors.CONTAINER.read_bytes())["cases"]
LENGTHS = [0, 1, 16_383, 16_384, 16_385, 2 * 16_384, 50_000]
CONTEXT = b"a context \x00\xff"


def open_with_library(key: bytes, context: bytes, sealed: bytes) -> bytes:
    decryptor = library.Cobblestone256Decryptor(key, context)
    return decryptor.update(sealed) + decryptor.finalize()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["plain_length"]))
def test_every_implementation_meets_the_vectors(case):
    key, salt, context = bytes.fromhex(case["key"]), bytes.fromhex(case["salt"]), case["context"].encode()
    plain = vectors.plain_of(case["plain_length"])
    by_python = cobblestone.seal(key, salt, context, plain)
    by_rust = rust.run("seal-container", key.hex(), salt.hex(), context.hex(), stdin=plain)
    assert by_python == by_rust
    assert len(by_rust) == case["sealed_length"]
    assert hashlib.sha256(by_rust).hexdigest() == case["sealed_sha256"]
    assert case.get("sealed", by_rust.hex()) == by_rust.hex()
    assert cobblestone.open_sealed(key, context, by_rust) == plain
    assert open_with_library(key, context, by_rust) == plain


def test_the_committed_vectors_are_those_that_are_made():
    assert json.loads(vectors.CONTAINER.read_bytes()) == vectors.make()


@pytest.mark.parametrize("length", LENGTHS)
def test_new_containers_open_across_implementations(length):
    key, salt, plain = os.urandom(32), os.urandom(24), os.urandom(length)
    by_rust = rust.run("seal-container", key.hex(), salt.hex(), CONTEXT.hex(), stdin=plain)
    assert cobblestone.open_sealed(key, CONTEXT, by_rust) == plain
    assert open_with_library(key, CONTEXT, by_rust) == plain

    by_python = cobblestone.seal(key, salt, CONTEXT, plain)
    assert rust.run("open-container", key.hex(), CONTEXT.hex(), stdin=by_python) == plain

    encryptor = library.Cobblestone256Encryptor(key, CONTEXT)
    by_library = encryptor.update(plain) + encryptor.finalize()
    assert rust.run("open-container", key.hex(), CONTEXT.hex(), stdin=by_library) == plain


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (lambda sealed: sealed[:55], "artifact.too_short", "too short"),
        (lambda sealed: sealed[:56], "artifact.truncated", "truncated"),
        (lambda sealed: sealed[: 56 + 16_400], "artifact.truncated", "truncated"),
        (lambda sealed: sealed[:71], "artifact.impossible_length", "impossible length"),
        (lambda sealed: flip(sealed, 0), "artifact.commitment_mismatch", "commitment mismatch"),
        (lambda sealed: flip(sealed, 24), "artifact.commitment_mismatch", "commitment mismatch"),
        (lambda sealed: flip(sealed, 56), "artifact.chunk_unauthentic", "chunk 0 fails to authenticate"),
        (lambda sealed: flip(sealed, -1), "artifact.chunk_unauthentic", "chunk 1 fails to authenticate"),
        (lambda sealed: sealed[:-1], "artifact.chunk_unauthentic", "chunk 1 fails to authenticate"),
    ],
)
def test_every_implementation_refuses_a_changed_container(change, code, reason):
    key = b"\x07" * 32
    changed = change(cobblestone.seal(key, b"\x09" * 24, CONTEXT, vectors.plain_of(20_000)))
    with pytest.raises(cobblestone.Refused, match=reason):
        cobblestone.open_sealed(key, CONTEXT, changed)
    with pytest.raises(rust.Refused, match=f"^{code}$"):
        rust.run("open-container", key.hex(), CONTEXT.hex(), stdin=changed)
    with pytest.raises((InvalidTag, ValueError)):
        open_with_library(key, CONTEXT, changed)


def flip(sealed: bytes, at: int) -> bytes:
    changed = bytearray(sealed)
    changed[at] ^= 1
    return bytes(changed)
