"""Audit events, straight out of the table."""

import json


def find_events(stack, kind: str, *texts: str) -> list[dict]:
    """The events of a kind that hold all of these texts, out of the whole table."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(
        TableName=stack["AUDIT_TABLE"],
        FilterExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": kind}},
        ConsistentRead=True,
    )
    entries = [bytes(item["entry"]["B"]) for page in pages for item in page["Items"]]
    return [json.loads(entry) for entry in entries if all(text.encode() in entry for text in texts)]
