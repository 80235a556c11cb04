"""Whole artifacts against OpenSSF's `model_signing` and the second container implementation."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cobblestone
import pytest
import rfc8785
import rust
import vectors
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

MANIFEST = vectors.MODEL / "manifest.json"
ONNX = vectors.MODEL / "spx-direction.onnx"
NAME, VERSION = "spx-direction", "1.0.0"
SIGNED_FILES = ["manifest.json", "model.onnx.sealed", "model.sig"]


class Sealed:
    """An artifact that Rust has just sealed under new keys."""

    def __init__(self, folder: pathlib.Path, *packed: object):
        self.folder = folder / "artifact"
        self.key = os.urandom(32)
        self.signing_key = os.urandom(31).rjust(32, b"\x01")
        arguments = (self.folder, MANIFEST, ONNX, self.key.hex(), os.urandom(24).hex(), self.signing_key.hex())
        rust.run("seal-artifact", *arguments, *packed)
        rust.run("wrap", self.folder, "alias/model-key", os.urandom(48).hex())
        self.public_key = folder / "artifact.pub.pem"

    def open_with_rust(self) -> bytes:
        return rust.run("open-artifact", self.folder, NAME, VERSION, self.key.hex(), self.public_key)


@pytest.fixture
def sealed(tmp_path):
    return Sealed(tmp_path)


def model_signing(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def verify(folder: pathlib.Path, public_key: pathlib.Path, *options: object) -> subprocess.CompletedProcess:
    signature = folder / "model.sig"
    return model_signing("verify", "key", "--signature", signature, "--public_key", public_key, *options, folder)


def flip(path: pathlib.Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def context_of(manifest: dict) -> bytes:
    return vectors.context_of(manifest["name"], manifest["version"], manifest["model"]["sha256"])


def test_model_signing_verifies_what_rust_signs(sealed):
    # Once with what the signed statement says is to be ignored, once with the option.
    for options in [(), ("--ignore-paths", sealed.folder / "key.json")]:
        done = verify(sealed.folder, sealed.public_key, *options)
        assert done.returncode == 0, done.stderr
        assert "Verification succeeded" in done.stdout


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx.sealed"])
def test_model_signing_and_rust_refuse_a_flipped_bit(sealed, name):
    flip(sealed.folder / name, 100)
    done = verify(sealed.folder, sealed.public_key)
    assert done.returncode != 0
    # The tool prints a list's repr: how its quotes are escaped depends on the bytes of the digest.
    assert re.search(rf"Hash mismatch for \\*'{re.escape(name)}", done.stderr), done.stderr
    with pytest.raises(rust.Refused, match="^artifact.digest_mismatch$"):
        sealed.open_with_rust()


def test_model_signing_and_rust_refuse_a_changed_statement(sealed):
    path = sealed.folder / "model.sig"
    bundle = json.loads(path.read_bytes())
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = payload.replace(payload[200], "A" if payload[200] != "A" else "B", 1)
    path.write_text(json.dumps(bundle))
    assert verify(sealed.folder, sealed.public_key).returncode != 0
    with pytest.raises(rust.Refused, match="^artifact.signature_invalid$"):
        sealed.open_with_rust()


def test_model_signing_and_rust_refuse_another_public_key(sealed):
    sealed.public_key.write_bytes((vectors.VECTORS / "artifact.pub.pem").read_bytes())
    done = verify(sealed.folder, sealed.public_key)
    assert done.returncode != 0
    assert "Key mismatch" in done.stderr
    with pytest.raises(rust.Refused, match="^artifact.key_unknown$"):
        sealed.open_with_rust()


def test_model_signing_refuses_a_file_that_was_not_signed(sealed):
    (sealed.folder / "extra.bin").write_bytes(b"x")
    done = verify(sealed.folder, sealed.public_key)
    assert done.returncode != 0
    assert "extra.bin" in done.stderr


def test_python_opens_what_rust_seals(sealed):
    manifest = json.loads((sealed.folder / "manifest.json").read_bytes())
    onnx = ONNX.read_bytes()
    assert manifest["model"] == {"sha256": hashlib.sha256(onnx).hexdigest(), "size": len(onnx)}
    container = (sealed.folder / "model.onnx.sealed").read_bytes()
    assert cobblestone.open_sealed(sealed.key, context_of(manifest), container) == onnx
    assert sealed.open_with_rust() == onnx


@pytest.fixture
def packed(tmp_path):
    """A sealed model with some bytes for its packed form."""
    plain = tmp_path / "plain.packed"
    plain.write_bytes(b"SEALPACK" + os.urandom(40_000))
    return Sealed(tmp_path, plain, os.urandom(24).hex()), plain.read_bytes()


def test_the_packed_container_is_signed_and_opened_by_every_implementation(packed):
    sealed, plain = packed
    manifest = json.loads((sealed.folder / "manifest.json").read_bytes())
    digest = hashlib.sha256(plain).hexdigest()
    assert manifest["packed"] == {"format": 1, "sha256": digest, "size": len(plain)}
    done = verify(sealed.folder, sealed.public_key)
    assert done.returncode == 0, done.stderr

    # The packed container has a context of its own: one cannot stand in the other's place.
    container = (sealed.folder / "model.packed.sealed").read_bytes()
    context = vectors.context_of(manifest["name"], manifest["version"], digest)
    assert cobblestone.open_sealed(sealed.key, context, container) == plain
    with pytest.raises(cobblestone.Refused):
        cobblestone.open_sealed(sealed.key, context_of(manifest), container)
    arguments = (sealed.folder, NAME, VERSION, sealed.key.hex(), sealed.public_key)
    assert rust.run("open-packed", *arguments) == plain
    assert sealed.open_with_rust() == ONNX.read_bytes()


def test_model_signing_and_rust_refuse_a_changed_or_missing_packed_container(packed):
    sealed, _ = packed
    path = sealed.folder / "model.packed.sealed"
    flip(path, 5_000)
    assert verify(sealed.folder, sealed.public_key).returncode != 0
    with pytest.raises(rust.Refused, match="^artifact.digest_mismatch$"):
        sealed.open_with_rust()
    path.unlink()
    assert verify(sealed.folder, sealed.public_key).returncode != 0
    with pytest.raises(rust.Refused, match="^artifact[.]"):
        rust.run("open-packed", sealed.folder, NAME, VERSION, sealed.key.hex(), sealed.public_key)


def test_the_json_that_rust_writes_is_canonical(sealed):
    for name in ["manifest.json", "model.sig", "key.json"]:
        written = (sealed.folder / name).read_bytes()
        assert rfc8785.dumps(json.loads(written)) == written, name


def test_the_committed_artifact_is_verified_and_opened():
    facts = json.loads(vectors.ARTIFACT.with_suffix(".json").read_bytes())
    public_key = vectors.VECTORS / "artifact.pub.pem"
    done = verify(vectors.ARTIFACT, public_key)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((vectors.ARTIFACT / "manifest.json").read_bytes())
    container = (vectors.ARTIFACT / "model.onnx.sealed").read_bytes()
    plain = cobblestone.open_sealed(bytes.fromhex(facts["data_key"]), context_of(manifest), container)
    assert hashlib.sha256(plain).hexdigest() == facts["onnx_sha256"]
    opened = rust.run("open-artifact", vectors.ARTIFACT, facts["name"], facts["version"], facts["data_key"], public_key)
    assert opened == plain


def test_rust_opens_what_python_seals_and_model_signing_signs(tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    key, onnx = os.urandom(32), ONNX.read_bytes()
    manifest = json.loads(MANIFEST.read_bytes())
    manifest["model"] = {"sha256": hashlib.sha256(onnx).hexdigest(), "size": len(onnx)}
    (folder / "manifest.json").write_bytes(rfc8785.dumps(manifest))
    container = cobblestone.seal(key, os.urandom(24), context_of(manifest), onnx)
    (folder / "model.onnx.sealed").write_bytes(container)

    signing_key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(
        signing_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        signing_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    done = model_signing("sign", "key", "--private_key", private, "--signature", folder / "model.sig", folder)
    assert done.returncode == 0, done.stderr

    arguments = (folder, NAME, VERSION, key.hex(), public)
    assert rust.run("open-artifact", *arguments) == onnx
    with pytest.raises(rust.Refused, match="^artifact.wrong_model$"):
        rust.run("open-artifact", folder, NAME, "1.0.1", key.hex(), public)
    with pytest.raises(rust.Refused, match="^artifact.commitment_mismatch$"):
        rust.run("open-artifact", folder, NAME, VERSION, os.urandom(32).hex(), public)
    flip(folder / "model.onnx.sealed", 5_000)
    with pytest.raises(rust.Refused, match="^artifact.digest_mismatch$"):
        rust.run("open-artifact", *arguments)


def test_a_sidecar_of_another_model_is_refused(sealed, tmp_path):
    shutil.copy(vectors.ARTIFACT / "key.json", sealed.folder / "key.json")
    with pytest.raises(rust.Refused, match="^artifact.sidecar_mismatch$"):
        sealed.open_with_rust()


def test_every_signed_file_is_needed(sealed):
    for name in SIGNED_FILES:
        content = (sealed.folder / name).read_bytes()
        (sealed.folder / name).write_bytes(b"")
        with pytest.raises(rust.Refused, match="^artifact[.]"):
            sealed.open_with_rust()
        (sealed.folder / name).write_bytes(content)
    assert sealed.open_with_rust() == ONNX.read_bytes()
