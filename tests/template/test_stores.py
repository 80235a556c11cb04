"""Tables, buckets, keys and logs keep what they hold, and hold it as the stores' code expects."""

import pytest
from cloudformation import ROOT, read_template, render, resources_of

TEMPLATE = read_template()
TABLES = resources_of(TEMPLATE, "AWS::DynamoDB::Table")
BUCKETS = resources_of(TEMPLATE, "AWS::S3::Bucket")
KEYS = resources_of(TEMPLATE, "AWS::KMS::Key")
LOGS = resources_of(TEMPLATE, "AWS::Logs::LogGroup")

KEPT = {"Retain", "RetainExceptOnCreate"}
AUDIT_INDEXES = {"time": ("t_pk", "t_sk"), "symbol": ("y_pk", "y_sk"), "model": ("m_pk", "m_sk"), "request": ("r_pk", "r_sk")}


def keys_of(schema: list[dict]) -> tuple[str, ...]:
    assert [part["KeyType"] for part in schema] == ["HASH", "RANGE"][: len(schema)]
    return tuple(part["AttributeName"] for part in schema)


FORGET_NOTHING = {"LogTable"}
UNLOCKED = {"SpillBucket"}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_on_demand_encrypted_recoverable_and_forgets_by_ttl_if_at_all(name):
    properties = TABLES[name]["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    forgets = {"AttributeName": "ttl", "Enabled": True} if name not in FORGET_NOTHING else None
    assert properties.get("TimeToLiveSpecification") == forgets
    assert keys_of(properties["KeySchema"]) == ("pk", "sk")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_outlives_its_stack(name):
    assert TABLES[name]["Properties"]["DeletionProtectionEnabled"] is True
    assert TABLES[name]["DeletionPolicy"] == TABLES[name]["UpdateReplacePolicy"] == "Retain"
    assert "TableName" not in TABLES[name]["Properties"], "a kept table's name could not be used again"


def test_the_audit_table_is_found_by_time_symbol_model_and_request_and_shows_every_change():
    properties = TABLES["AuditTable"]["Properties"]
    indexes = {index["IndexName"]: index for index in properties["GlobalSecondaryIndexes"]}
    assert {name: keys_of(index["KeySchema"]) for name, index in indexes.items()} == AUDIT_INDEXES
    for index in indexes.values():
        assert index["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kind"]}
    assert properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    defined = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in properties["AttributeDefinitions"]}
    used = {"pk", "sk"} | {key for keys in AUDIT_INDEXES.values() for key in keys}
    assert defined == dict.fromkeys(used, "S")


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_private_versioned_encrypted_locked_and_kept(name):
    properties = BUCKETS[name]["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert properties.get("ObjectLockEnabled", False) is (name not in UNLOCKED)
    assert BUCKETS[name]["DeletionPolicy"] in KEPT
    assert BUCKETS[name]["UpdateReplacePolicy"] == "Retain"


def statements_of(bucket: str) -> dict[str, dict]:
    """The statements of the bucket's policy, by Sid."""
    [policy] = [policy["Properties"]["PolicyDocument"] for policy in resources_of(TEMPLATE, "AWS::S3::BucketPolicy").values()
                if policy["Properties"]["Bucket"] == {"Ref": bucket}]
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_the_sealed_log_is_locked_by_the_bucket_in_compliance_mode_and_by_no_key():
    properties = BUCKETS["LogBucket"]["Properties"]
    assert properties["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": {"Ref": "SealedLogRetentionDays"}}},
    }
    [encrypted] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encrypted == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_production_keeps_the_log_for_seven_years_at_least():
    rule = TEMPLATE["Rules"]["ProductionKeepsItsLog"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}
    [[allowed, parameter]] = [found["Assert"]["Fn::Contains"] for found in rule["Assertions"]]
    assert parameter == {"Ref": "SealedLogRetentionDays"}
    values = TEMPLATE["Parameters"]["SealedLogRetentionDays"]["AllowedValues"]
    assert [int(days) for days in allowed] == [days for days in values if days >= 7 * 365.25]


def test_what_expires_of_the_log_is_what_a_run_staged_and_only_after_its_lock():
    rules = BUCKETS["LogBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = [rule for rule in rules if "AbortIncompleteMultipartUpload" not in rule]
    assert [(rule["Prefix"], rule["ExpirationInDays"]) for rule in expiring] == [("stage/", 31)]
    source = (ROOT / "shared" / "store-aws" / "src" / "log_objects.rs").read_text(encoding="utf-8")
    assert "const STAGED_FOR: Duration = Duration::from_hours(30 * 24);" in source


def test_the_log_is_written_once_and_its_checkpoint_replaced_knowingly_and_nothing_deleted():
    found = statements_of("LogBucket")
    assert all(statement["Effect"] == "Deny" and statement["Principal"] == "*" for statement in found.values())
    checkpoint = "${LogBucket.Arn}/checkpoint"
    assert found["WriteOnce"]["Action"] == found["ReplaceCheckpointKnowingly"]["Action"] == "s3:PutObject"
    assert render(found["WriteOnce"]["NotResource"]) == render(found["ReplaceCheckpointKnowingly"]["Resource"]) == checkpoint
    assert found["WriteOnce"]["Condition"]["Null"] == {"s3:if-none-match": "true"}
    assert found["ReplaceCheckpointKnowingly"]["Condition"]["Null"] == {"s3:if-none-match": "true", "s3:if-match": "true"}
    assert found["DeleteNothing"]["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    assert render(found["DeleteNothing"]["Resource"]) == "${LogBucket.Arn}/*"
    assert found["KeepAsLongAsTheBucketSays"]["Action"] == "s3:PutObjectRetention"
    assert render(found["KeepAsLongAsTheBucketSays"]["NotResource"]) == "${LogBucket.Arn}/stage/*"
    assert not any("Condition" in found[sid] for sid in ("DeleteNothing", "KeepAsLongAsTheBucketSays"))


def test_what_waits_in_the_spill_never_expires():
    for rule in BUCKETS["SpillBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate"} & set(rule), rule


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_refuses_whoever_comes_without_tls(name):
    refusal = statements_of(name)["OverTlsOnly"]
    assert refusal["Effect"] == "Deny"
    assert refusal["Principal"] == "*"
    assert refusal["Action"] == "s3:*"
    assert [render(resource) for resource in refusal["Resource"]] == [f"${{{name}.Arn}}", f"${{{name}.Arn}}/*"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_kept_and_rotates_where_it_can(name):
    properties = KEYS[name]["Properties"]
    symmetric = properties.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
    assert properties.get("EnableKeyRotation", False) is symmetric
    assert properties["PendingWindowInDays"] == 30
    assert KEYS[name]["DeletionPolicy"] in KEPT
    assert KEYS[name]["UpdateReplacePolicy"] == "Retain"


def test_the_keys_are_of_the_kinds_that_the_formats_need():
    kinds = {name: (key["Properties"].get("KeySpec"), key["Properties"].get("KeyUsage")) for name, key in KEYS.items()}
    assert kinds == {
        "DataKey": (None, None),
        "ModelSigningKey": ("ECC_NIST_P256", "SIGN_VERIFY"),
        "StreamKey": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        "OperatorStreamKey": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        "LogKey": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    }


@pytest.mark.parametrize("name", KEYS)
def test_whoever_administers_a_key_cannot_use_it_for_that(name):
    using = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt", "kms:Sign", "kms:CreateGrant", "kms:*")
    for statement in KEYS[name]["Properties"]["KeyPolicy"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if any(action.startswith(using) for action in actions):
            assert statement["Condition"], statement["Sid"]


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_kept_as_long_as_the_parameter_says(name):
    assert LOGS[name]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
