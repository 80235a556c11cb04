#!/usr/bin/env python3
"""What the template permits, as flat, sorted rows that stand in infra/golden, one file a policy.

    permissions.py --write      writes infra/golden anew: review the difference as you would review the policies

A row is one (effect, principal, action, resource, condition). Whatever could grant something and is not understood is
an error, never left out.
"""

import json
import re
import sys

from cloudformation import ROOT, functions_of, read_template, render, resources_of

GOLDEN = ROOT / "infra" / "golden"
KNOWN_MEMBERS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"}


def list_of(value) -> list:
    return value if isinstance(value, list) else [value]


def rows_of(document: dict) -> list[dict]:
    """The rows of a policy document."""
    if document.get("Version") != "2012-10-17":
        raise ValueError(f"Version: expected 2012-10-17, found {document.get('Version')!r}")
    rows = []
    for statement in list_of(document["Statement"]):
        if unknown := set(statement) - KNOWN_MEMBERS:
            raise ValueError(f"{statement.get('Sid')}: {', '.join(sorted(unknown))} is not understood")
        conditions = {
            operator: {key: sorted(render(value) for value in list_of(values)) for key, values in sorted(keys.items())}
            for operator, keys in sorted(statement.get("Condition", {}).items())
        }
        for action in expand(statement, "Action"):
            for resource in expand(statement, "Resource"):
                for principal in principals_of(statement):
                    row = {"effect": statement["Effect"], **principal, **action, **resource}
                    rows.append({**row, "condition": conditions} if conditions else row)
    return rows


def expand(statement: dict, member: str) -> list[dict]:
    """`{"action": ...}` for each that is named, or `{"not_action": ...}` with all that are left out."""
    if member in statement:
        return [{member.lower(): render(value)} for value in list_of(statement[member])]
    if f"Not{member}" in statement:
        return [{f"not_{member.lower()}": sorted(render(value) for value in list_of(statement[f"Not{member}"]))}]
    # Only the trust policy of a role has no resource: it is the role.
    return [{}] if member == "Resource" else []


def principals_of(statement: dict) -> list[dict]:
    if "Principal" not in statement:
        return [{}]
    named = statement["Principal"]
    if isinstance(named, str):
        return [{"principal": named}]
    return [{"principal": f"{kind} {render(who)}"} for kind, whos in named.items() for who in list_of(whos)]


def permissions_of_role(template: dict, logical_id: str) -> list[dict]:
    """Everything that the role is given, wherever in the template, and who may take it."""
    properties = template["Resources"][logical_id]["Properties"]
    known = {"RoleName", "AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns"}
    if unknown := set(properties) - known:
        raise ValueError(f"{logical_id}: {', '.join(sorted(unknown))} is not understood")
    rows = rows_of(properties["AssumeRolePolicyDocument"])
    for policy in properties.get("Policies", []):
        rows += rows_of(policy["PolicyDocument"])
    rows += [{"effect": "Allow", "managed_policy": render(arn)} for arn in properties.get("ManagedPolicyArns", [])]
    names = {f"${{{logical_id}}}", render(properties["RoleName"])}
    for other, resource in template["Resources"].items():
        if other == logical_id or not resource["Type"].startswith("AWS::IAM::"):
            continue
        given = resource["Properties"]
        attached = list_of(given.get("Roles", [])) + list_of(given.get("RoleName", []))
        if names & {render(name) for name in attached}:
            rows += rows_of(given["PolicyDocument"])
    for function in functions_of(template).values():
        given = function["Properties"]
        if given.get("Policies") and render(given.get("Role", "")) in {f"${{{logical_id}.Arn}}"}:
            raise ValueError(f"{logical_id}: a function that has this role has Policies, which SAM ignores")
    return sort(rows)


def sort(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def role_of(template: dict, function: str) -> str:
    """The logical id of the function's role, which is a resource of the template."""
    match template["Resources"][function]["Properties"].get("Role"):
        case {"Fn::GetAtt": [role, "Arn"]}:
            return role
    raise ValueError(f"{function}: expected Role: !GetAtt SOMETHING.Arn, or SAM makes a role of its own")


def collect(template: dict) -> dict[str, list[dict]]:
    """Every policy of the template by the name of its golden file."""
    found = {}
    for function in functions_of(template):
        found[name_of(function, "Function")] = permissions_of_role(template, role_of(template, function))
    for policy, resource in resources_of(template, "AWS::IAM::ManagedPolicy").items():
        found[f"operators/{name_of(policy, 'Policy')}"] = sort(rows_of(resource["Properties"]["PolicyDocument"]))
    for key, resource in resources_of(template, "AWS::KMS::Key").items():
        found[f"resources/{name_of(key)}"] = sort(rows_of(resource["Properties"]["KeyPolicy"]))
    for kind in ("AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy"):
        for policy, resource in resources_of(template, kind).items():
            rows = rows_of(resource["Properties"]["PolicyDocument"])
            found[f"resources/{name_of(policy, 'Policy')}"] = sort(rows)
    return found


def name_of(logical_id: str, kind: str = "") -> str:
    """`AuditQueryFunction` is `audit-query`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", logical_id.removesuffix(kind)).lower()


def write_rows(rows: list[dict]) -> str:
    """JSON, a row a line."""
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


def read_golden() -> dict[str, list[dict]]:
    files = sorted(GOLDEN.rglob("*.json"))
    return {str(path.relative_to(GOLDEN).with_suffix("")): json.loads(path.read_text()) for path in files}


def main() -> int:
    if sys.argv[1:] != ["--write"]:
        print(__doc__, file=sys.stderr)
        return 2
    found = collect(read_template())
    for stale in set(read_golden()) - set(found):
        (GOLDEN / f"{stale}.json").unlink()
    for name, rows in found.items():
        path = GOLDEN / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write_rows(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
