"""A stack for one test in an AWS-shaped service, made without a line of what is tested.

    stack.py make NAME        makes bucket, tables, keys and function; prints the lines of the stack's file
    stack.py serving NAME     prints what the function's alias `live` points to, as JSON

The service is the one that the AWS_* variables name.
"""

import io
import json
import sys
import zipfile

import boto3


def main() -> int:
    match sys.argv[1:]:
        case ["make", name]:
            print("\n".join(f"{key}={value}" for key, value in make(name).items()))
        case ["serving", name]:
            print(json.dumps(describe_serving(name)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def make(name: str) -> dict[str, str]:
    boto3.client("s3").create_bucket(Bucket=f"{name}-models")
    for table in ("registry", "audit", "requests"):
        make_table(f"{name}-{table}", "tymr" if table == "audit" else "")
    make_function(f"{name}-predict")
    return {
        "SEALCAST_MODELS_BUCKET": f"{name}-models",
        "SEALCAST_REGISTRY_TABLE": f"{name}-registry",
        "SEALCAST_AUDIT_TABLE": f"{name}-audit",
        "SEALCAST_REQUESTS_TABLE": f"{name}-requests",
        "SEALCAST_DATA_KEY": make_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        "SEALCAST_MODEL_SIGNING_KEY": make_key("ECC_NIST_P256", "SIGN_VERIFY"),
        "SEALCAST_STREAM_KEY": make_key("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        "SEALCAST_OPERATOR_STREAM_KEY": make_key("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        "SEALCAST_PREDICT_FUNCTION": f"{name}-predict",
    }


def make_table(name: str, indexed: str) -> None:
    """A table with keys pk and sk, and for each letter an index with keys x_pk and x_sk."""
    named = {"t": "time", "y": "symbol", "m": "model", "r": "request"}
    keys = ["pk", "sk"] + [f"{letter}_{part}" for letter in indexed for part in ("pk", "sk")]
    indexes = [
        {
            "IndexName": named[letter],
            "KeySchema": key_schema(f"{letter}_"),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kind"]},
        }
        for letter in indexed
    ]
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=key_schema(""),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )


def key_schema(prefix: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": f"{prefix}pk", "KeyType": "HASH"},
        {"AttributeName": f"{prefix}sk", "KeyType": "RANGE"},
    ]


def make_key(spec: str, usage: str) -> str:
    return boto3.client("kms").create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]


def make_function(name: str) -> None:
    """A function that nobody calls, with an alias as a deployment leaves it: on a version without a release."""
    functions = boto3.client("lambda")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\nexit 1\n")
    functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=make_role(name),
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"SEALCAST_LOG": "warn"}},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion=version)


def make_role(name: str) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    return boto3.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]


def describe_serving(name: str) -> dict:
    functions = boto3.client("lambda")
    function = f"{name}-predict"
    version = functions.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    settings = functions.get_function_configuration(FunctionName=function, Qualifier=version)
    return {"version": version, "settings": settings["Environment"]["Variables"]}


if __name__ == "__main__":
    sys.exit(main())
