"""What predict's role may do, and that all else is refused.

Every call that is refused is made with the account's own credentials as well: it fails for the permission alone.
"""

import base64
import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import MODEL

REFUSALS = ("AccessDenied", "AccessDeniedException")
KEY = {"pk": {"S": "S#e2e"}, "sk": {"S": "00000000000000000001"}}
CONTEXT = {"model": "m", "version": "1.0.0", "sha256": "0" * 64}


@pytest.fixture(scope="module", autouse=True)
def clean(stack) -> Iterator[None]:
    """Removes what the calls leave in the tables."""
    yield
    left = [("AUDIT_TABLE", "S#e2e", KEY["sk"]["S"]), ("AUDIT_TABLE", "S#e2e", "00000000000000000002")]
    left += [("AUDIT_TABLE", "S#e2e-statement", "1"), ("AUDIT_TABLE", "X#e2e", "1")]
    left += [("REGISTRY_TABLE", "REL#r-999999", "release"), ("REQUESTS_TABLE", "R#e2e#1", "claim")]
    for table, pk, sk in left:
        stack.client("dynamodb").delete_item(TableName=stack[table], Key={"pk": {"S": pk}, "sk": {"S": sk}})


def put_model(stack, who):
    return stack.client("s3", who).put_object(
        Bucket=stack["MODELS_BUCKET"], Key="models/e2e/1.0.0/model.onnx.sealed", Body=b"x", IfNoneMatch="*"
    )


def delete_model(stack, who):
    return stack.client("s3", who).delete_object(Bucket=stack["MODELS_BUCKET"], Key="models/e2e/1.0.0/none")


def list_models(stack, who):
    return stack.client("s3", who).list_objects_v2(Bucket=stack["MODELS_BUCKET"], Prefix="models/")


def delete_event(stack, who):
    return stack.client("dynamodb", who).delete_item(TableName=stack["AUDIT_TABLE"], Key=KEY)


def update_event(stack, who):
    return stack.client("dynamodb", who).update_item(
        TableName=stack["AUDIT_TABLE"],
        Key=KEY,
        UpdateExpression="SET entry = :entry",
        ExpressionAttributeValues={":entry": {"B": b"x"}},
    )


def batch_write_events(stack, who):
    return stack.client("dynamodb", who).batch_write_item(
        RequestItems={stack["AUDIT_TABLE"]: [{"DeleteRequest": {"Key": KEY}}]}
    )


def delete_event_by_transaction(stack, who):
    return stack.client("dynamodb", who).transact_write_items(
        TransactItems=[{"Delete": {"TableName": stack["AUDIT_TABLE"], "Key": KEY}}]
    )


def insert_event_by_statement(stack, who):
    return stack.client("dynamodb", who).execute_statement(
        Statement=f"INSERT INTO \"{stack['AUDIT_TABLE']}\" VALUE {{'pk': 'S#e2e-statement', 'sk': '1'}}"
    )


def read_event(stack, who):
    return stack.client("dynamodb", who).get_item(TableName=stack["AUDIT_TABLE"], Key=KEY)


def query_events(stack, who):
    return stack.client("dynamodb", who).query(
        TableName=stack["AUDIT_TABLE"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": KEY["pk"]},
    )


def read_claim(stack, who):
    return stack.client("dynamodb", who).get_item(TableName=stack["REQUESTS_TABLE"], Key=KEY)


def write_release(stack, who):
    item = {"pk": {"S": "REL#r-999999"}, "sk": {"S": "release"}}
    return stack.client("dynamodb", who).put_item(TableName=stack["REGISTRY_TABLE"], Item=item)


def append_under_another_key(stack, who):
    item = {"pk": {"S": "X#e2e"}, "sk": {"S": "1"}}
    return stack.client("dynamodb", who).put_item(TableName=stack["AUDIT_TABLE"], Item=item)


def sign_as_sealer(stack, who):
    return stack.client("kms", who).sign(
        KeyId=stack["MODEL_SIGNING_KEY"],
        Message=b"x" * 32,
        MessageType="DIGEST",
        SigningAlgorithm="ECDSA_SHA_256",
    )


def register_stream_of_people(stack, who):
    return stack.client("kms", who).sign(
        KeyId=stack["OPERATOR_STREAM_KEY"], Message=b"x", MessageType="RAW", SigningAlgorithm="ED25519_SHA_512"
    )


def generate_data_key(stack, who):
    return stack.client("kms", who).generate_data_key(
        KeyId=stack["DATA_KEY"], KeySpec="AES_256", EncryptionContext=CONTEXT
    )


def move_alias(stack, who):
    alias = boto3.client("lambda").get_alias(FunctionName=stack["PREDICT_FUNCTION"], Name="live")
    return stack.client("lambda", who).update_alias(
        FunctionName=stack["PREDICT_FUNCTION"],
        Name="live",
        FunctionVersion=alias["FunctionVersion"],
        Description=alias["Description"],
    )


def configure_function(stack, who):
    return stack.client("lambda", who).update_function_configuration(
        FunctionName=stack["PREDICT_FUNCTION"], Description="tried by a test"
    )


REFUSED = [
    put_model, delete_model, list_models,
    update_event, delete_event, batch_write_events, delete_event_by_transaction, insert_event_by_statement,
    read_event, query_events, read_claim, write_release, append_under_another_key,
    sign_as_sealer, register_stream_of_people, generate_data_key, move_alias, configure_function,
]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED, ids=lambda call: call.__name__)
def test_predicts_role_is_refused(stack, predict_role, call):
    with pytest.raises(ClientError) as refused:
        call(stack, predict_role)
    assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value
    call(stack, None)


def read_model(stack, who):
    key = f"models/{MODEL}/1.0.0/key.json"
    return stack.client("s3", who).get_object(Bucket=stack["MODELS_BUCKET"], Key=key)["Body"].read()


def unwrap_data_key(stack, who):
    sidecar = json.loads(read_model(stack, who))
    context = {name: sidecar[name] for name in CONTEXT}
    wrapped = base64.b64decode(sidecar["wrapped_key"])
    return stack.client("kms", who).decrypt(
        KeyId=stack["DATA_KEY"], CiphertextBlob=wrapped, EncryptionContext=context
    )


def read_release(stack, who):
    key = {"pk": {"S": "REL#r-000001"}, "sk": {"S": "release"}}
    return stack.client("dynamodb", who).get_item(TableName=stack["REGISTRY_TABLE"], Key=key)


def append_event(stack, who):
    return stack.client("dynamodb", who).put_item(
        TableName=stack["AUDIT_TABLE"],
        Item={**KEY, "sk": {"S": "00000000000000000002"}},
        ConditionExpression="attribute_not_exists(pk)",
    )


def claim_request(stack, who):
    item = {"pk": {"S": "R#e2e#1"}, "sk": {"S": "claim"}}
    return stack.client("dynamodb", who).put_item(TableName=stack["REQUESTS_TABLE"], Item=item)


def register_stream(stack, who):
    return stack.client("kms", who).sign(
        KeyId=stack["STREAM_KEY"], Message=b"x", MessageType="RAW", SigningAlgorithm="ED25519_SHA_512"
    )


ALLOWED = [read_model, unwrap_data_key, read_release, append_event, claim_request, register_stream]


@pytest.mark.parametrize("call", ALLOWED, ids=lambda call: call.__name__)
def test_predicts_role_is_allowed_what_it_needs(stack, predict_role, call):
    assert call(stack, predict_role)


def test_a_releaser_registers_streams_of_people_and_none_of_the_functions(stack, people):
    assert register_stream_of_people(stack, people["releaser"])
    with pytest.raises(ClientError) as refused:
        register_stream(stack, people["releaser"])
    assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value


def test_predicts_role_unwraps_no_key_without_its_context(stack, predict_role):
    wrapped = base64.b64decode(json.loads(read_model(stack, None))["wrapped_key"])
    with pytest.raises(ClientError) as refused:
        stack.client("kms", predict_role).decrypt(KeyId=stack["DATA_KEY"], CiphertextBlob=wrapped)
    assert refused.value.response["Error"]["Code"] in REFUSALS, refused.value
