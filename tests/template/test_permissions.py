"""Every policy is exactly what infra/golden says, and a policy that is wider, or other in any way, is found."""

import copy
from collections.abc import Callable, Iterator

import pytest
from cloudformation import functions_of, read_template, resources_of
from permissions import collect, list_of, name_of, read_golden, role_of

TEMPLATE = read_template()
GOLDEN = read_golden()
NO_RESOURCE_LEVEL_PERMISSION = {"xray:PutTelemetryRecords", "xray:PutTraceSegments", "dynamodb:ListStreams"}
BOUND_BY_THEIR_RESOURCE = {
    "kms:DescribeKey", "kms:GetPublicKey",
    "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
}
PLACES = ("ModelsBucket.Arn}/models/*", "LogBucket.Arn}/checkpoint", "LogBucket.Arn}/stage/*", "LogBucket.Arn}/tile/*", "SpillBucket.Arn}/spill/*", "SpillBucket.Arn}/aside/*")
READ_BY_ALLOWING_PATTERN = {"dynamodb:PartiQL*", "kms:GenerateDataKey*"}


def test_every_policy_has_a_golden_file_and_every_golden_file_a_policy():
    assert sorted(collect(TEMPLATE)) == sorted(GOLDEN)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_policy_is_its_golden_file(name):
    assert collect(TEMPLATE)[name] == GOLDEN[name], "permissions.py --write, then review the difference"


def permissions_of_functions() -> Iterator[tuple[str, dict]]:
    for function in functions_of(TEMPLATE):
        name = name_of(function, "Function")
        for row in GOLDEN[name]:
            yield name, row


def test_nothing_is_allowed_on_every_resource_but_what_has_none():
    wide = [(name, row["action"]) for name, row in permissions_of_functions()
            if row["effect"] == "Allow" and row.get("resource") == "*"]
    assert {action for _, action in wide} == NO_RESOURCE_LEVEL_PERMISSION


def test_no_function_is_allowed_a_pattern_of_actions():
    patterns = {(row["effect"], row["action"]) for _, row in permissions_of_functions() if "*" in row["action"]}
    assert patterns == {("Deny", action) for action in READ_BY_ALLOWING_PATTERN}


@pytest.mark.parametrize("service", ["dynamodb", "kms", "s3"])
def test_every_use_of_a_store_is_bound_to_keys_contexts_or_a_prefix(service):
    bound = {"dynamodb": "dynamodb:LeadingKeys", "kms": "kms:"}
    for name, row in permissions_of_functions():
        if row["effect"] != "Allow" or not row["action"].startswith(f"{service}:"):
            continue
        keys = [key for operator in row.get("condition", {}).values() for key in operator]
        if service == "s3":
            assert row["action"] == "s3:ListBucket" or row["resource"].endswith(PLACES), (name, row)
        elif row["action"] not in BOUND_BY_THEIR_RESOURCE and not row["resource"].endswith("/index/*"):
            assert any(key.startswith(bound[service]) for key in keys), (name, row)


def test_each_function_has_a_role_of_its_own_that_only_lambda_takes():
    roles = [role_of(TEMPLATE, function) for function in functions_of(TEMPLATE)]
    assert len(set(roles)) == len(roles)
    assert set(roles) == set(resources_of(TEMPLATE, "AWS::IAM::Role"))
    for name in map(lambda function: name_of(function, "Function"), functions_of(TEMPLATE)):
        taken = [row for row in GOLDEN[name] if row["action"].startswith("sts:")]
        assert [row["principal"] for row in taken] == ["Service lambda.amazonaws.com"]


def test_operator_policies_are_attached_to_nobody():
    for policy in resources_of(TEMPLATE, "AWS::IAM::ManagedPolicy").values():
        assert not {"Roles", "Users", "Groups"} & set(policy["Properties"])


def test_sealing_and_releasing_share_no_writing_permission():
    def writes(name: str) -> set[tuple[str, str]]:
        reading = ("s3:Get", "s3:List", "kms:GetPublicKey")
        return {(row["action"], row["resource"]) for row in GOLDEN[name] if not row["action"].startswith(reading)}

    assert not writes("operators/sealer") & writes("operators/releaser")


def test_the_sealer_alone_signs_checkpoints_and_writes_the_log_and_nobody_deletes_of_it():
    writing = {"s3:PutObject", "s3:PutObjectRetention", "dynamodb:PutItem", "kms:Sign"}
    of_the_log = ("${LogBucket", "${LogTable", "${LogKey")
    writers = {name for name, row in GOLDEN.items() for row in row
               if row["effect"] == "Allow" and row["action"] in writing and row.get("resource", "").startswith(of_the_log)}
    assert writers == {"audit-seal"}
    [signing] = [row for row in GOLDEN["resources/log-key"] if row["action"] == "kms:Sign"]
    assert signing["condition"]["ArnEquals"]["aws:PrincipalArn"] == [
        "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/sealcast-${Stage}-audit-seal-${AWS::Region}"
    ]
    for name, rows in GOLDEN.items():
        deleting = [row for row in rows if row["effect"] == "Allow" and ":Delete" in row["action"]
                    and not row["action"].startswith("kms:")]
        assert {row["resource"] for row in deleting} <= {"${SpillBucket.Arn}/spill/*", "${LogTable.Arn}"}, name
        for row in deleting:
            if row["action"] == "dynamodb:DeleteItem":
                assert row["condition"]["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["O#*"]}


def test_people_register_streams_with_a_key_that_no_function_uses_and_none_of_the_functions():
    signing = {name: row["resource"] for name, rows in GOLDEN.items() for row in rows
               if row["effect"] == "Allow" and row["action"] == "kms:Sign" and "StreamKey" in row.get("resource", "")}
    operators = {name: key for name, key in signing.items() if name.startswith("operators/")}
    assert operators == {"operators/releaser": "${OperatorStreamKey.Arn}"}
    assert {key for name, key in signing.items() if name not in operators} == {"${StreamKey.Arn}"}
    [row] = [row for row in GOLDEN["resources/operator-stream-key"] if row["action"] == "kms:Sign"]
    refused = row["condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert len(refused) == len(functions_of(TEMPLATE))


def test_no_function_may_use_the_key_that_signs_models():
    assert not [row for _, row in permissions_of_functions() if "ModelSigningKey" in row.get("resource", "")]
    signing = [row for row in GOLDEN["resources/model-signing-key"] if row["action"] == "kms:Sign"]
    refused = signing[0]["condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert len(signing) == 1
    assert len(refused) == len(functions_of(TEMPLATE))


# --- Mutants: each is one careless or hostile edit, and each must be found ------------------------------------------------


def statements_of(template: dict, role: str) -> list[dict]:
    return template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]


def first_of(value):
    return list_of(value)[0]


def widen_action(statement: dict) -> bool:
    """`s3:GetObject` becomes `s3:*`."""
    action = first_of(statement["Action"])
    wider = action.split(":")[0] + ":*"
    statement["Action"] = [wider, *list_of(statement["Action"])[1:]]
    return wider != action


def stretch_action(statement: dict) -> bool:
    """`s3:GetObject` becomes `s3:GetObject*`."""
    statement["Action"] = [first_of(statement["Action"]) + "*", *list_of(statement["Action"])[1:]]
    return True


def add_action(statement: dict) -> bool:
    statement["Action"] = [*list_of(statement["Action"]), "dynamodb:Scan"]
    return True


def widen_resource(statement: dict) -> bool:
    if statement["Resource"] == "*":
        return False
    statement["Resource"] = "*"
    return True


def add_resource(statement: dict) -> bool:
    statement["Resource"] = [*list_of(statement["Resource"]), {"Fn::GetAtt": ["ModelSigningKey", "Arn"]}]
    return True


def allow_all_but(statement: dict) -> bool:
    statement["NotAction"] = statement.pop("Action")
    return True


def drop_conditions(statement: dict) -> bool:
    return statement.pop("Condition", None) is not None


def drop_one_condition(statement: dict) -> bool:
    operators = statement.get("Condition", {})
    if len(operators) < 2:
        return False
    del operators[sorted(operators)[0]]
    return True


def widen_condition(statement: dict) -> bool:
    for keys in statement.get("Condition", {}).values():
        for key, values in keys.items():
            keys[key] = [*list_of(values), "*"]
            return True
    return False


def relax_condition(statement: dict) -> bool:
    """`StringEquals` becomes `StringEqualsIfExists`: an absent key then satisfies it."""
    operators = statement.get("Condition", {})
    for operator in list(operators):
        operators[f"{operator}IfExists"] = operators.pop(operator)
        return True
    return False


def flip_effect(statement: dict) -> bool:
    statement["Effect"] = "Deny" if statement["Effect"] == "Allow" else "Allow"
    return True


OF_A_STATEMENT = [widen_action, stretch_action, add_action, widen_resource, add_resource, allow_all_but,
                  drop_conditions, drop_one_condition, widen_condition, relax_condition, flip_effect]

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def add_statement(template: dict, _function: str, role: str) -> None:
    statements_of(template, role).append(EVERYTHING["Statement"][0])


def repeat_statement(template: dict, _function: str, role: str) -> None:
    statements_of(template, role).append(copy.deepcopy(statements_of(template, role)[0]))


def drop_statement(template: dict, _function: str, role: str) -> None:
    statements_of(template, role).pop()


def add_inline_policy(template: dict, _function: str, role: str) -> None:
    policies = template["Resources"][role]["Properties"]["Policies"]
    policies.append({"PolicyName": "more", "PolicyDocument": EVERYTHING})


def attach_managed_policy(template: dict, _function: str, role: str) -> None:
    template["Resources"][role]["Properties"]["ManagedPolicyArns"] = ["arn:aws:iam::aws:policy/AdministratorAccess"]


def attach_policy_resource(template: dict, _function: str, role: str) -> None:
    properties = {"PolicyName": "more", "PolicyDocument": EVERYTHING, "Roles": [{"Ref": role}]}
    template["Resources"]["More"] = {"Type": "AWS::IAM::Policy", "Properties": properties}


def attach_policy_by_name(template: dict, _function: str, role: str) -> None:
    name = template["Resources"][role]["Properties"]["RoleName"]
    properties = {"PolicyName": "more", "PolicyDocument": EVERYTHING, "RoleName": name}
    template["Resources"]["More"] = {"Type": "AWS::IAM::RolePolicy", "Properties": properties}


def attach_operator_policy(template: dict, _function: str, role: str) -> None:
    template["Resources"]["SealerPolicy"]["Properties"]["Roles"] = [{"Ref": role}]


def hide_in_a_condition(template: dict, _function: str, role: str) -> None:
    statements_of(template, role)[0]["Resource"] = {"Fn::If": ["HasJwt", "*", statements_of(template, role)[0]["Resource"]]}


def give_policies_to_the_function(template: dict, function: str, _role: str) -> None:
    template["Resources"][function]["Properties"]["Policies"] = ["AdministratorAccess"]


def let_others_take_the_role(template: dict, _function: str, role: str) -> None:
    trusted = template["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]
    trusted["Statement"][0]["Principal"] = {"AWS": "*", "Service": "lambda.amazonaws.com"}


def take_no_role(template: dict, function: str, _role: str) -> None:
    del template["Resources"][function]["Properties"]["Role"]


def take_a_role_from_elsewhere(template: dict, function: str, _role: str) -> None:
    template["Resources"][function]["Properties"]["Role"] = "arn:aws:iam::000000000000:role/admin"


OF_A_ROLE = [add_statement, repeat_statement, drop_statement, add_inline_policy, attach_managed_policy,
             attach_policy_resource, attach_policy_by_name, attach_operator_policy, hide_in_a_condition,
             give_policies_to_the_function, let_others_take_the_role, take_no_role, take_a_role_from_elsewhere]


def is_found(template: dict) -> bool:
    """Whether the comparison with infra/golden fails, or the template is refused as not understood."""
    try:
        return collect(template) != GOLDEN
    except ValueError:
        return True


@pytest.mark.parametrize("mutate", OF_A_ROLE, ids=lambda mutate: mutate.__name__)
@pytest.mark.parametrize("function", functions_of(TEMPLATE))
def test_a_role_with_more_or_less_is_found(function: str, mutate: Callable):
    template = copy.deepcopy(TEMPLATE)
    mutate(template, function, role_of(template, function))
    assert is_found(template)


@pytest.mark.parametrize("mutate", OF_A_STATEMENT, ids=lambda mutate: mutate.__name__)
@pytest.mark.parametrize("function", functions_of(TEMPLATE))
def test_a_changed_statement_is_found_in_whichever_it_is(function: str, mutate: Callable):
    role = role_of(TEMPLATE, function)
    applied = 0
    for position in range(len(statements_of(TEMPLATE, role))):
        template = copy.deepcopy(TEMPLATE)
        if mutate(statements_of(template, role)[position]):
            applied += 1
            assert is_found(template), statements_of(template, role)[position]
    assert applied, "the mutant changes nothing anywhere"


def policy_documents(template: dict) -> dict[str, dict]:
    """The policies that are not a role's: keys', buckets', topics' and operators'."""
    found = {}
    for name, resource in template["Resources"].items():
        for member in ("KeyPolicy", "PolicyDocument"):
            if member in resource["Properties"]:
                found[name] = resource["Properties"][member]
    return found


@pytest.mark.parametrize("name", policy_documents(TEMPLATE))
def test_a_wider_policy_of_a_resource_or_an_operator_is_found(name):
    applied = 0
    for position in range(len(policy_documents(TEMPLATE)[name]["Statement"])):
        for mutate in (widen_action, drop_conditions, widen_condition, flip_effect):
            template = copy.deepcopy(TEMPLATE)
            if mutate(policy_documents(template)[name]["Statement"][position]):
                applied += 1
                assert is_found(template), (position, mutate.__name__)
    assert applied, "no mutant changes anything"


def test_the_unchanged_template_is_not_found():
    assert not is_found(copy.deepcopy(TEMPLATE))
