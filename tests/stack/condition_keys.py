"""Gives ministack the condition keys that the template's policies use and that it does not know.

An unknown key is absent, so that a condition on it never holds: an Allow would refuse everything, a Deny nothing. With
these patches a policy means locally what it means on AWS:

    kms:EncryptionContext:<key>, kms:EncryptionContextKeys, kms:SigningAlgorithm, kms:MessageType
    dynamodb:LeadingKeys
    s3:if-none-match, s3:if-match, s3:ObjectCreationOperation
    aws:PrincipalArn            of an assumed role: the role's ARN, not the session's
    aws:SecureTransport         true: the stack listens on loopback only and speaks no TLS

It also asks for lambda:GetAlias, UpdateAlias and DeleteAlias where ministack asks for lambda:ListAliases.
"""

import json
import re

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb, iam

LEADING_KEYS = "dynamodb:LeadingKeys"
LEADING_KEYS_OF_TABLES = "sealcast:leading-keys-of-tables"
"""Carries a request's partition keys by table from where its body is known to where each table is checked."""


def install() -> None:
    """Applies every patch; asserts that what is patched is there."""
    know_kms_keys()
    know_leading_keys()
    know_conditional_writes()
    know_the_role_of_a_session()
    take_loopback_for_secure()
    tell_alias_calls_apart()


def know_kms_keys() -> None:
    tags = iam_actions.request_tag_context

    def describe(service, iam_action, body, params):
        context = tags(service, iam_action, body, params)
        return {**context, **describe_kms_request(body)} if service == "kms" else context

    iam_actions.request_tag_context = describe


def describe_kms_request(body: bytes) -> dict:
    """The condition keys of one request to KMS."""
    request = read_object(body)
    context = {f"kms:{name}": request[name] for name in ("SigningAlgorithm", "MessageType") if name in request}
    pairs = request.get("EncryptionContext") or {}
    context |= {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}
    return context | ({"kms:EncryptionContextKeys": list(pairs)} if pairs else {})


def know_leading_keys() -> None:
    describe_request, enforce = iam_actions.dynamodb_service_context, iam_evaluator.enforce

    def describe(body):
        return {**describe_request(body), LEADING_KEYS_OF_TABLES: find_partition_keys(read_object(body))}

    def enforce_for_table(access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
        if service_context and LEADING_KEYS_OF_TABLES in service_context:
            context = dict(service_context)
            tables = context.pop(LEADING_KEYS_OF_TABLES)
            keys = tables.get(table_of(resource_arn))
            service_context = context | ({LEADING_KEYS: keys} if keys else {})
        return enforce(access_key_id, iam_action, service, region, resource_arn, service_context)

    iam_actions.dynamodb_service_context = describe
    iam_evaluator.enforce = enforce_for_table


def table_of(name_or_arn: str) -> str:
    """The table that a request's TableName or a checked ARN names; an index belongs to its table."""
    return name_or_arn.split(":table/", 1)[-1].split("/", 1)[0]


def find_partition_keys(request: dict) -> dict[str, list[str]]:
    """The partition keys that the request names, by table."""
    found: dict[str, list[str]] = {}

    def note(operation: dict) -> None:
        table = table_of(str(operation.get("TableName", "")))
        record = dynamodb._tables.get(table)
        if record is None:
            return
        name = record["pk_name"]
        value = (operation.get("Item") or operation.get("Key") or {}).get(name)
        if value is None and "KeyConditionExpression" in operation:
            value = find_queried_key(operation, name)
        if value is not None:
            found.setdefault(table, []).extend(str(plain) for plain in value.values())

    if "TableName" in request:
        note(request)
    for item in request.get("TransactItems") or []:
        for operation in item.values():
            note(operation)
    for table, work in (request.get("RequestItems") or {}).items():
        writes = work if isinstance(work, list) else [{"Key": {"Key": key}} for key in work.get("Keys", [])]
        for write in writes:
            for operation in write.values():
                note({**operation, "TableName": table})
    return found


def find_queried_key(query: dict, name: str) -> dict | None:
    """The value that the query's key condition compares the partition key with."""
    names = {alias for alias, real in (query.get("ExpressionAttributeNames") or {}).items() if real == name} | {name}
    for alias, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", query["KeyConditionExpression"]):
        if alias in names:
            return (query.get("ExpressionAttributeValues") or {}).get(value)
    return None


def know_conditional_writes() -> None:
    describe_request = iam_actions.s3_service_context

    def describe(iam_action, query_params, path="", headers=None):
        context = describe_request(iam_action, query_params, path, headers)
        if iam_action != "s3:PutObject":
            return context
        asked = query_params or {}
        # Starting an upload and uploading its parts create nothing; its completion does.
        creates = "uploads" not in asked and "partNumber" not in asked
        context = {**context, "s3:ObjectCreationOperation": str(creates).lower()}
        for name in ("if-none-match", "if-match"):
            if name in (headers or {}):
                context[f"s3:{name}"] = headers[name]
        return context

    iam_actions.s3_service_context = describe


def know_the_role_of_a_session() -> None:
    resolve = iam_evaluator._resolve_condition_key

    def resolve_role(key, ctx):
        if key.lower() == "aws:principalarn" and ctx.principal_type == "AssumedRole":
            name = iam_evaluator._role_name_from_assumed_arn(ctx.principal_arn)
            role = iam._roles.get_scoped(ctx.principal_account, None, name)
            return role["Arn"] if role else ctx.principal_arn
        return resolve(key, ctx)

    iam_evaluator._resolve_condition_key = resolve_role


def take_loopback_for_secure() -> None:
    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)


def tell_alias_calls_apart() -> None:
    find_action = iam_actions._lambda_action

    def find_alias_action(method, path):
        if re.search(r"/functions/[^/]+/aliases/[^/]+/?$", path):
            return {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}[method]
        return find_action(method, path)

    iam_actions._lambda_action = find_alias_action


def read_object(body: bytes) -> dict:
    """The body as a JSON object; empty where it is none."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}
