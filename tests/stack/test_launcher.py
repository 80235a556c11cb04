"""What the launcher mends in ministack. Needs the stack: tests/stack/run.sh pytest tests/stack/test_launcher.py"""

import io
import json
import time
import zipfile
from collections import Counter

import boto3
import pytest
from botocore.exceptions import ClientError

CONTEXT = {"model": "m"}
# A runtime that answers with its version; the shortest one that speaks the Runtime API.
BOOTSTRAP = b"""#!/usr/bin/env python3
import http.client, json, os
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
path = "/2018-06-01/runtime/invocation/"
while True:
    connection.request("GET", path + "next")
    response = connection.getresponse()
    response.read()
    answer = json.dumps(os.environ["AWS_LAMBDA_FUNCTION_VERSION"])
    connection.request("POST", path + response.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", answer)
    connection.getresponse().read()
"""


@pytest.fixture(scope="module")
def keys() -> list[str]:
    kms = boto3.client("kms")
    return [kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2)]


def refusal(**asked) -> str:
    with pytest.raises(ClientError) as refused:
        boto3.client("kms").decrypt(**asked)
    return refused.value.response["Error"]["Code"]


@pytest.mark.parametrize("made_by", ["encrypt", "generate_data_key"])
def test_a_ciphertext_opens_only_whole_under_its_key_and_its_context(keys, made_by):
    kms = boto3.client("kms")
    if made_by == "encrypt":
        plain = b"secret"
        wrapped = kms.encrypt(KeyId=keys[0], Plaintext=plain, EncryptionContext=CONTEXT)["CiphertextBlob"]
    else:
        made = kms.generate_data_key(KeyId=keys[0], KeySpec="AES_256", EncryptionContext=CONTEXT)
        plain, wrapped = made["Plaintext"], made["CiphertextBlob"]
    for named in ({}, {"KeyId": keys[0]}):
        assert kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=CONTEXT, **named)["Plaintext"] == plain
        for position in range(0, len(wrapped), 7):
            changed = bytearray(wrapped)
            changed[position] ^= 1
            asked = {"CiphertextBlob": bytes(changed), "EncryptionContext": CONTEXT, **named}
            assert refusal(**asked) == "InvalidCiphertextException", position
        other = {"CiphertextBlob": wrapped, "EncryptionContext": {"model": "n"}, **named}
        assert refusal(**other) == "InvalidCiphertextException"
    wrong = {"KeyId": keys[1], "CiphertextBlob": wrapped, "EncryptionContext": CONTEXT}
    assert refusal(**wrong) == "IncorrectKeyException"


@pytest.fixture(scope="module")
def function() -> str:
    """A function with two versions, and an alias that gives the second a quarter of the calls."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP)
    iam, client, name = boto3.client("iam"), boto3.client("lambda"), "launcher-test"
    allow = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    runtime = {"Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Code": {"ZipFile": code.getvalue()}}
    client.create_function(FunctionName=name, **runtime)
    client.publish_version(FunctionName=name)
    client.update_function_configuration(FunctionName=name, Description="another")
    client.publish_version(FunctionName=name)
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights)
    return name


def invoke(name: str) -> str:
    answer = boto3.client("lambda").invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
    return json.loads(answer["Payload"].read())


def test_an_alias_divides_the_calls_by_its_weights(function):
    versions = Counter(invoke(function) for _ in range(200))
    assert set(versions) == {"1", "2"}
    # 50 are expected; outside of this lies less than one run in a million.
    assert 20 <= versions["2"] <= 85, versions


def test_a_warm_call_waits_neither_for_packets_nor_for_log_lines(function):
    for _ in range(20):
        invoke(function)
    durations = []
    for _ in range(40):
        began = time.monotonic()
        invoke(function)
        durations.append(time.monotonic() - began)
    # Either wait alone takes 40 ms and more.
    assert sorted(durations)[len(durations) // 4] < 0.04, durations
