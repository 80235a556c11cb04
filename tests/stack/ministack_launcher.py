#!/usr/bin/env python3
"""Starts ministack with its faults patched that the tests would otherwise measure or trip over.

Written against ministack 1.5.33 (requirements.txt pins it); every patch asserts that what it replaces is there, so
that another version fails at the start and not in a test.
"""

import base64
import hashlib
import hmac
import json
import random
import socketserver

import condition_keys
from ministack import app
from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import kms, lambda_svc

TAG_BYTES = 32
KEY_ID_BYTES = 36


def send_small_packets_at_once() -> None:
    """The Runtime API answers in two writes; with Nagle's algorithm each invocation waits 40 ms twice."""
    assert socketserver.StreamRequestHandler.disable_nagle_algorithm is False
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def wait_less_for_log_lines() -> None:
    """After an invocation that logged nothing, ministack waits 50 ms for a line before it answers."""
    silent_wait_s, pause_s, whole_wait_s = 0.002, 0.001, 0.25
    patched = 0
    for worker in vars(lambda_runtime).values():
        if isinstance(worker, type) and "_drain_stderr_bounded" in vars(worker):
            drain = worker._drain_stderr_bounded
            assert len(drain.__defaults__) == 3
            drain.__defaults__ = (silent_wait_s, pause_s, whole_wait_s)
            patched += 1
    assert patched, "no worker drains its log lines"


def route_by_weight() -> None:
    """An alias's RoutingConfig is stored, but every invocation goes to its main version."""
    invoke, find = lambda_svc._invoke, lambda_svc._effective_func_record_for_qualifier

    async def invoke_by_weight(name, event, headers, path_qualifier=None, query_params=None):
        function = lambda_svc._functions[name] if name in lambda_svc._functions else None
        qualifier = (
            path_qualifier
            or lambda_svc._qp_first(query_params or {}, "Qualifier")
            or lambda_svc._qp_first(headers, "x-amz-qualifier")
        )
        if function is not None and qualifier:
            path_qualifier = choose_version(function, qualifier)
        return await invoke(name, event, headers, path_qualifier, query_params)

    def find_by_weight(function, qualifier):
        if function is not None and qualifier:
            qualifier = choose_version(function, qualifier)
        return find(function, qualifier)

    lambda_svc._invoke = invoke_by_weight
    lambda_svc._effective_func_record_for_qualifier = find_by_weight


def choose_version(function: dict, qualifier: str) -> str:
    """The version that one invocation of an alias goes to; the qualifier itself where it has no weights."""
    alias = function.get("aliases", {}).get(qualifier) or {}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    point = random.random()
    for version, weight in weights.items():
        if point < float(weight):
            return version
        point -= float(weight)
    return qualifier


def authenticate_ciphertexts() -> None:
    """Symmetric encryption is an XOR: a changed ciphertext, or another key's, decrypts to garbage instead of failing.

    A tag at the end of each ciphertext makes both fail as KMS does. The encryption context is checked already. Data
    key pairs are left as they are.
    """
    generate, encrypt, decrypt = kms._generate_data_key_common, kms._encrypt, kms._decrypt

    def generate_with_tag(data, *more):
        key, plain, wrapped = generate(data, *more)
        return key, plain, wrapped if key is None else wrapped + compute_tag(key, wrapped)

    def encrypt_with_tag(data):
        status, headers, body = encrypt(data)
        key = kms._resolve_key(data.get("KeyId", ""))
        if status != 200 or "_symmetric_key" not in key:
            return status, headers, body
        answer = json.loads(body)
        wrapped = base64.b64decode(answer["CiphertextBlob"])
        answer["CiphertextBlob"] = base64.b64encode(wrapped + compute_tag(key, wrapped)).decode()
        return kms.json_response(answer)

    def decrypt_with_tag(data):
        tagged = base64.b64decode(data.get("CiphertextBlob", ""))
        wrapped, tag = tagged[:-TAG_BYTES], tagged[-TAG_BYTES:]
        asked = kms._resolve_key(data.get("KeyId", ""))
        if asked is not None and "_symmetric_key" not in asked:
            return decrypt(data)
        key = kms._resolve_key(wrapped[:KEY_ID_BYTES].decode("utf-8", errors="replace"))
        if key is None or not hmac.compare_digest(compute_tag(key, wrapped), tag):
            refused = kms._check_key_state(asked) if asked is not None else None
            return refused or error_response_json("InvalidCiphertextException", "", 400)
        if asked is not None and asked is not key:
            reason = "The key ID in the request does not identify a CMK that can perform this operation."
            return error_response_json("IncorrectKeyException", reason, 400)
        return decrypt({**data, "CiphertextBlob": base64.b64encode(wrapped).decode()})

    kms._generate_data_key_common = generate_with_tag
    kms._encrypt = encrypt_with_tag
    kms._decrypt = decrypt_with_tag


def compute_tag(key: dict, wrapped: bytes) -> bytes:
    return hmac.digest(key["_symmetric_key"], b"tag" + wrapped, hashlib.sha256)


if __name__ == "__main__":
    authenticate_ciphertexts()
    send_small_packets_at_once()
    wait_less_for_log_lines()
    route_by_weight()
    condition_keys.install()
    app.main()
