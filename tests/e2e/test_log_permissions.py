"""What the roles of sealer, queries and watch may do to the sealed log and to the streams, and that all else is refused.

Every call that is refused is made with the account's own credentials as well: it fails for the permission alone.
"""

import time
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from conftest import take_role

REFUSALS = ("AccessDenied", "AccessDeniedException")
FUNCTIONS = ("audit-seal", "audit-query", "audit-watch")
KEY = {"pk": {"S": "S#e2e-log"}, "sk": {"S": "00000000000000000001"}}


@pytest.fixture(scope="module")
def roles(stack) -> Iterator[dict]:
    with take_role(stack, FUNCTIONS[0]) as seal, take_role(stack, FUNCTIONS[1]) as query, take_role(stack, FUNCTIONS[2]) as watch:
        yield dict(zip(FUNCTIONS, (seal, query, watch)))


@pytest.fixture(scope="module", autouse=True)
def clean(stack) -> Iterator[None]:
    """Removes what the calls leave in the tables."""
    yield
    for table, pk in [("AUDIT_TABLE", KEY["pk"]["S"]), ("LOG_TABLE", "X#e2e"), ("LOG_TABLE", "LOCK#e2e"), ("REQUESTS_TABLE", "R#e2e-log")]:
        key = {"pk": {"S": pk}, "sk": KEY["sk"]}
        stack.client("dynamodb").delete_item(TableName=stack[table], Key=key)


def fresh() -> str:
    return f"{time.time_ns()}"


def put_object(stack, who, bucket: str, key: str, **options):
    return stack.client("s3", who).put_object(Bucket=stack[bucket], Key=key, Body=b"e2e", **options)


def put_row(stack, who, table: str, pk: str):
    return stack.client("dynamodb", who).put_item(TableName=stack[table], Item={"pk": {"S": pk}, "sk": KEY["sk"]})


def get_row(stack, who, table: str, pk: str):
    return stack.client("dynamodb", who).get_item(TableName=stack[table], Key={"pk": {"S": pk}, "sk": KEY["sk"]})


def sign(stack, who, key: str, algorithm: str = "ED25519_SHA_512", kind: str = "RAW"):
    message = b"x" * (64 if kind == "DIGEST" else 1)
    return stack.client("kms", who).sign(KeyId=stack[key], Message=message, MessageType=kind, SigningAlgorithm=algorithm)


def put_tile(stack, who):
    return put_object(stack, who, "LOG_BUCKET", f"tile/e2e/{fresh()}", IfNoneMatch="*")


def put_tile_over_another(stack, who):
    return put_object(stack, who, "LOG_BUCKET", "tile/e2e/over")


def put_staged_over_another(stack, who):
    return put_object(stack, who, "LOG_BUCKET", "stage/e2e")


def put_beside_the_log(stack, who):
    return put_object(stack, who, "LOG_BUCKET", f"other/{fresh()}", IfNoneMatch="*")


def delete_tile(stack, who):
    return stack.client("s3", who).delete_object(Bucket=stack["LOG_BUCKET"], Key="tile/e2e/none")


def delete_staged(stack, who):
    return stack.client("s3", who).delete_object(Bucket=stack["LOG_BUCKET"], Key="stage/e2e/none")


def read_model(stack, who):
    return stack.client("s3", who).get_object(Bucket=stack["MODELS_BUCKET"], Key="models/spx-direction/1.0.0/key.json")


def put_spilled(stack, who):
    return put_object(stack, who, "SPILL_BUCKET", f"spill/{fresh()}", IfNoneMatch="*")


def set_aside(stack, who):
    return put_object(stack, who, "SPILL_BUCKET", f"aside/{fresh()}")


def delete_spilled(stack, who):
    return stack.client("s3", who).delete_object(Bucket=stack["SPILL_BUCKET"], Key="spill/none")


def delete_what_was_set_aside(stack, who):
    return stack.client("s3", who).delete_object(Bucket=stack["SPILL_BUCKET"], Key="aside/none")


def lock(stack, who):
    return put_row(stack, who, "LOG_TABLE", "LOCK#e2e")


def read_lock(stack, who):
    return get_row(stack, who, "LOG_TABLE", "LOCK#e2e")


def index(stack, who):
    return put_row(stack, who, "LOG_TABLE", "X#e2e")


def read_index(stack, who):
    return get_row(stack, who, "LOG_TABLE", "X#e2e")


def forget_index(stack, who):
    key = {"pk": {"S": "X#e2e"}, "sk": KEY["sk"]}
    return stack.client("dynamodb", who).delete_item(TableName=stack["LOG_TABLE"], Key=key)


def forget_lock(stack, who):
    key = {"pk": {"S": "LOCK#e2e"}, "sk": KEY["sk"]}
    return stack.client("dynamodb", who).delete_item(TableName=stack["LOG_TABLE"], Key=key)


def close_stream(stack, who):
    key = {"pk": {"S": "O#e2e"}, "sk": KEY["sk"]}
    return stack.client("dynamodb", who).delete_item(TableName=stack["LOG_TABLE"], Key=key)


def append_event(stack, who):
    return put_row(stack, who, "AUDIT_TABLE", KEY["pk"]["S"])


def read_event(stack, who):
    return get_row(stack, who, "AUDIT_TABLE", KEY["pk"]["S"])


def read_directory_of_streams(stack, who):
    return get_row(stack, who, "AUDIT_TABLE", "G#")


def delete_event(stack, who):
    return stack.client("dynamodb", who).delete_item(TableName=stack["AUDIT_TABLE"], Key=KEY)


def find_events(stack, who):
    return stack.client("dynamodb", who).query(
        TableName=stack["AUDIT_TABLE"],
        IndexName="request",
        KeyConditionExpression="r_pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "R#e2e"}},
    )


def scan_events(stack, who):
    return stack.client("dynamodb", who).scan(TableName=stack["AUDIT_TABLE"], Limit=1)


def claim_request(stack, who):
    return put_row(stack, who, "REQUESTS_TABLE", "R#e2e-log")


def sign_checkpoint(stack, who):
    return sign(stack, who, "LOG_KEY")


def register_stream(stack, who):
    return sign(stack, who, "STREAM_KEY")


def sign_model(stack, who):
    return sign(stack, who, "MODEL_SIGNING_KEY", "ECDSA_SHA_256")


def read_log_key(stack, who):
    return stack.client("kms", who).get_public_key(KeyId=stack["LOG_KEY"])


def read_stream_key(stack, who):
    return stack.client("kms", who).get_public_key(KeyId=stack["STREAM_KEY"])


def list_log(stack, who):
    return stack.client("s3", who).list_objects_v2(Bucket=stack["LOG_BUCKET"], MaxKeys=1)


ALLOWED = {
    "audit-seal": [
        put_tile, list_log, lock, read_lock, index, read_index, close_stream, sign_checkpoint, read_log_key,
        append_event, read_event, read_directory_of_streams, register_stream, read_stream_key, set_aside, delete_spilled,
    ],
    "audit-query": [list_log, read_index, read_log_key, append_event, read_event, find_events, register_stream],
    "audit-watch": [append_event, register_stream],
}  # fmt: skip
EVERYTHING = [
    put_tile, put_tile_over_another, put_staged_over_another, put_beside_the_log, delete_tile, delete_staged, list_log,
    read_model, put_spilled, set_aside, delete_spilled, delete_what_was_set_aside,
    lock, read_lock, forget_lock, index, read_index, forget_index, close_stream,
    append_event, read_event, read_directory_of_streams, delete_event, find_events, scan_events, claim_request,
    sign_checkpoint, register_stream, sign_model, read_log_key, read_stream_key,
]  # fmt: skip
REFUSED = [(function, call) for function in FUNCTIONS for call in EVERYTHING if call not in ALLOWED[function]]
GRANTED = [(function, call) for function in FUNCTIONS for call in ALLOWED[function]]


def describe(value) -> str:
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize(("function", "call"), GRANTED, ids=describe)
def test_a_role_is_allowed_what_it_needs(stack, roles, function, call):
    assert call(stack, roles[function])


@pytest.mark.parametrize(("function", "call"), REFUSED, ids=describe)
def test_a_role_is_refused_all_else(stack, roles, function, call):
    with pytest.raises(ClientError) as refused:
        call(stack, roles[function])
    assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value
    call(stack, None)


def test_nobody_but_the_sealer_signs_checkpoints_whatever_their_own_policy_says(stack, people):
    iam = stack.client("iam")
    everything = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="nobody", PolicyName="everything", PolicyDocument=everything)
    try:
        with pytest.raises(ClientError) as refused:
            sign_checkpoint(stack, people["nobody"])
        assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value
        assert read_log_key(stack, people["nobody"])
    finally:
        iam.delete_user_policy(UserName="nobody", PolicyName="everything")


def test_the_sealer_signs_no_digest(stack, roles):
    with pytest.raises(ClientError) as refused:
        sign(stack, roles["audit-seal"], "LOG_KEY", "ED25519_PH_SHA_512", "DIGEST")
    assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value


def test_what_was_written_to_the_log_is_locked(stack, roles):
    key = f"tile/e2e/locked-{fresh()}"
    put_object(stack, roles["audit-seal"], "LOG_BUCKET", key, IfNoneMatch="*")
    s3 = stack.client("s3")
    head = s3.head_object(Bucket=stack["LOG_BUCKET"], Key=key)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ClientError) as refused:
        s3.delete_object(Bucket=stack["LOG_BUCKET"], Key=key, VersionId=head["VersionId"])
    assert refused.value.response["Error"]["Code"] in REFUSALS, "the stack's own root must not be able to either"
