"""What condition_keys.py adds to ministack: a condition lets the right call in, and refuses the others.

Needs the stack: tests/stack/run.sh pytest tests/stack/test_condition_keys.py
"""

import itertools
import json
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

REFUSALS = ("AccessDenied", "AccessDeniedException")
NUMBERS = itertools.count()
CONTEXT = {"model": "m"}
NAME = "condition-keys"


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(action: str | list[str], condition: dict | None = None) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition or {}}


@pytest.fixture
def user() -> Iterator[Callable]:
    """Makes clients of a user that has one policy."""
    iam, made = boto3.client("iam"), []

    def make(service: str, *statements: dict):
        name = f"{NAME}-{next(NUMBERS)}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=NAME, PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made.append((name, key["AccessKeyId"]))
        credentials = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return boto3.client(service, **credentials)

    yield make
    for name, key in made:
        iam.delete_access_key(UserName=name, AccessKeyId=key)
        iam.delete_user_policy(UserName=name, PolicyName=NAME)
        iam.delete_user(UserName=name)


def is_refused(call: Callable, **asked) -> bool:
    try:
        call(**asked)
    except ClientError as error:
        assert error.response["Error"]["Code"] in REFUSALS, error
        return True
    return False


@pytest.fixture(scope="module")
def key() -> str:
    return boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]


def test_an_encryption_context_is_known_by_its_keys_and_values(user, key):
    wrap = user("kms", allow("kms:GenerateDataKey", {
        "Null": {"kms:EncryptionContext:model": "false"},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["model"]},
    })).generate_data_key
    asked = {"KeyId": key, "KeySpec": "AES_256"}
    assert not is_refused(wrap, **asked, EncryptionContext=CONTEXT)
    assert is_refused(wrap, **asked)
    assert is_refused(wrap, **asked, EncryptionContext={"other": "m"})
    assert is_refused(wrap, **asked, EncryptionContext={**CONTEXT, "other": "m"})
    wrap = user("kms", allow("kms:GenerateDataKey", {"StringEquals": {"kms:EncryptionContext:model": "m"}})).generate_data_key
    assert not is_refused(wrap, **asked, EncryptionContext=CONTEXT)
    assert is_refused(wrap, **asked, EncryptionContext={"model": "n"})


def test_a_signature_is_known_by_its_algorithm_and_kind_of_message(user):
    made = boto3.client("kms").create_key(KeySpec="ECC_NIST_EDWARDS25519", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    only = {"kms:SigningAlgorithm": "ED25519_SHA_512", "kms:MessageType": "RAW"}
    sign = user("kms", allow("kms:Sign", {"StringEquals": only})).sign
    asked = {"KeyId": made["KeyId"], "Message": b"x" * 64}
    assert not is_refused(sign, **asked, MessageType="RAW", SigningAlgorithm="ED25519_SHA_512")
    assert is_refused(sign, **asked, MessageType="DIGEST", SigningAlgorithm="ED25519_PH_SHA_512")


@pytest.fixture(scope="module")
def tables() -> Iterator[list[str]]:
    client, names = boto3.client("dynamodb"), [f"{NAME}-1", f"{NAME}-2"]
    for name in names:
        client.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )  # fmt: skip
    yield names
    for name in names:
        client.delete_table(TableName=name)


def row(pk: str) -> dict:
    return {"pk": {"S": pk}}


def test_a_row_is_known_by_its_partition_key_in_every_kind_of_call(user, tables):
    condition = {"Null": {"dynamodb:LeadingKeys": "false"}, "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["S#*"]}}
    client = user("dynamodb", allow("dynamodb:*", condition))
    table = {"TableName": tables[0]}
    for own, right in (("S#1", True), ("X#1", False)):
        calls = [
            (client.put_item, {**table, "Item": row(own)}),
            (client.get_item, {**table, "Key": row(own)}),
            (client.update_item, {**table, "Key": row(own)}),
            (client.delete_item, {**table, "Key": row(own)}),
            (client.transact_write_items, {"TransactItems": [{"Put": {**table, "Item": row(own)}}]}),
            (client.transact_write_items, {"TransactItems": [{"Put": {**table, "Item": row("S#2")}},
                                                             {"Put": {**table, "Item": row(own + "2")}}]}),
            (client.transact_get_items, {"TransactItems": [{"Get": {**table, "Key": row(own)}}]}),
            (client.batch_write_item, {"RequestItems": {tables[0]: [{"PutRequest": {"Item": row(own)}}]}}),
            (client.batch_get_item, {"RequestItems": {tables[0]: {"Keys": [row(own)]}}}),
            (client.query, {**table, "KeyConditionExpression": "#k = :v", "ExpressionAttributeNames": {"#k": "pk"},
                            "ExpressionAttributeValues": {":v": {"S": own}}}),
        ]  # fmt: skip
        for call, asked in calls:
            assert is_refused(call, **asked) is not right, (call.__name__, own)
    assert is_refused(client.scan, **table)


def test_the_rows_of_a_transaction_are_held_to_the_condition_of_their_own_table(user, tables):
    statements = []
    for table, prefix in zip(tables, ("S#*", "R#*"), strict=True):
        statements.append({**allow("dynamodb:PutItem", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [prefix]}}),
                           "Resource": f"arn:aws:dynamodb:*:*:table/{table}"})  # fmt: skip
    write = user("dynamodb", *statements).transact_write_items

    def puts(*rows: str) -> list[dict]:
        return [{"Put": {"TableName": table, "Item": row(pk)}} for table, pk in zip(tables, rows, strict=True)]

    assert not is_refused(write, TransactItems=puts("S#1", "R#1"))
    assert is_refused(write, TransactItems=puts("R#1", "S#1"))


def test_a_bucket_policy_can_force_conditional_writes_and_let_uploads_in_parts_begin(user):
    client, bucket = boto3.client("s3"), NAME
    client.create_bucket(Bucket=bucket)
    unconditional = {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    refuse = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    tls = {**refuse, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    client.put_bucket_policy(Bucket=bucket, Policy=document({**refuse, "Condition": unconditional}, tls))
    writer = user("s3", allow(["s3:PutObject", "s3:AbortMultipartUpload"]))
    named = {"Bucket": bucket, "Key": "a"}
    assert is_refused(writer.put_object, **named, Body=b"1")
    etag = writer.put_object(**named, Body=b"1", IfNoneMatch="*")["ETag"]
    assert is_refused(writer.put_object, **named, Body=b"2")
    assert not is_refused(writer.put_object, **named, Body=b"2", IfMatch=etag)
    upload = {**named, "Key": "b", "UploadId": writer.create_multipart_upload(Bucket=bucket, Key="b")["UploadId"]}
    part = writer.upload_part(**upload, PartNumber=1, Body=b"1")["ETag"]
    whole = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
    assert is_refused(writer.complete_multipart_upload, **upload, **whole)
    assert not is_refused(writer.complete_multipart_upload, **upload, **whole, IfNoneMatch="*")


def test_a_session_is_known_by_its_role(user, key):
    iam, sts = boto3.client("iam"), boto3.client("sts")
    account = sts.get_caller_identity()["Account"]
    trust = document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"})
    described = {}
    for name in (f"{NAME}-named", f"{NAME}-other"):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        condition = {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{account}:role/{NAME}-named"}}
        policy = document(allow("kms:DescribeKey", condition))
        iam.put_role_policy(RoleName=name, PolicyName=NAME, PolicyDocument=policy)
        session = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        client = boto3.client("kms", aws_access_key_id=session["AccessKeyId"],
                              aws_secret_access_key=session["SecretAccessKey"], aws_session_token=session["SessionToken"])
        described[name] = not is_refused(client.describe_key, KeyId=key)
    assert described == {f"{NAME}-named": True, f"{NAME}-other": False}


def test_a_call_on_an_alias_needs_its_own_permission(user):
    for permission, call in (("GetAlias", "get_alias"), ("UpdateAlias", "update_alias"), ("DeleteAlias", "delete_alias")):
        for granted, expected in ((permission, False), ("ListAliases", True)):
            client = user("lambda", allow(f"lambda:{granted}"))
            # Let in, it is told that there is no such function.
            with pytest.raises(ClientError) as answered:
                getattr(client, call)(FunctionName="nothing", Name="live")
            refused = answered.value.response["Error"]["Code"] in REFUSALS
            assert refused is expected, (permission, granted)
