"""The committed vectors: how they were written.

`python vectors.py` writes them anew. The container's come from
`cobblestone.py` and the Rust tests only read them, so neither implementation
judges itself. The artifact is sealed by Rust and kept: it must open for ever.
"""

import hashlib
import json
import shutil

import cobblestone
import rust
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = rust.ROOT / "shared/artifact/tests/vectors"
CONTAINER = VECTORS / "container.json"
ARTIFACT = VECTORS / "artifact"

# The keys of the kept artifact; those of `shared/artifact/tests/artifact/support.rs`.
DATA_KEY = b"\x5e" * 32
SALT = b"\xa1" * 24
SIGNING_KEY = b"\x01" * 32
WRAPPING_KEY = b"\x3c" * 32
KEY_ID = "alias/model-key"
MODEL = rust.ROOT / "examples/spx-direction"

# Where the number of chunks, or whether the last one is empty, changes.
LENGTHS = [0, 1, 16, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 100_000]
CONTEXTS = [
    "",
    '{"model":"spx-direction","sha256":"9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4",'
    '"version":"1.0.0"}',
]


def plain_of(length: int) -> bytes:
    """Byte i is (7 i + i // 251) mod 256: no two chunks are alike."""
    return bytes((7 * i + i // 251) % 256 for i in range(length))


def make() -> dict:
    cases = []
    for number, length in enumerate(LENGTHS):
        key = hashlib.sha256(b"vector key %d" % number).digest()
        salt = hashlib.sha256(b"vector salt %d" % number).digest()[:24]
        context = CONTEXTS[number % 2]
        sealed = cobblestone.seal(key, salt, context.encode(), plain_of(length))
        case = {
            "key": key.hex(),
            "salt": salt.hex(),
            "context": context,
            "plain_length": length,
            "sealed_length": len(sealed),
            "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
        }
        if length <= 16:
            case["sealed"] = sealed.hex()
        cases.append(case)
    return {
        "format": "sealcast.container-vectors/v1",
        "instance": "c2sp.org/chunked-encryption@v1, Cobblestone-256",
        "plain": "byte i is (7 i + i / 251) mod 256, with integer division",
        "cases": cases,
    }


def context_of(name: str, version: str, sha256: str) -> bytes:
    return json.dumps({"model": name, "sha256": sha256, "version": version}, separators=(",", ":")).encode()


def write_artifact() -> None:
    manifest, onnx = MODEL / "manifest-mlp.json", MODEL / "spx-direction-mlp.onnx"
    shutil.rmtree(ARTIFACT, ignore_errors=True)
    rust.run("seal-artifact", ARTIFACT, manifest, onnx, DATA_KEY.hex(), SALT.hex(), SIGNING_KEY.hex())
    written = json.loads((ARTIFACT / "manifest.json").read_bytes())
    name, version, sha256 = written["name"], written["version"], written["model"]["sha256"]
    context = context_of(name, version, sha256)
    wrapped = AESGCM(WRAPPING_KEY).encrypt(b"\0" * 12, DATA_KEY, context)
    rust.run("wrap", ARTIFACT, KEY_ID, wrapped.hex())
    facts = {"data_key": DATA_KEY.hex(), "name": name, "version": version, "onnx_sha256": sha256}
    ARTIFACT.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    VECTORS.mkdir(parents=True, exist_ok=True)
    CONTAINER.write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")
    write_artifact()
