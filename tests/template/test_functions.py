"""Functions, the alias that nobody but an activation moves, and what a deployment tells others."""

import fnmatch
import json
import os
import re

import pytest
from cloudformation import ROOT, functions_of, read_template, render, resources_of
from permissions import name_of
from samtranslator.translator.translator import Translator
from samtranslator.parser.parser import Parser

TEMPLATE = read_template()
FUNCTIONS = functions_of(TEMPLATE)
SETTINGS_OF_ALL = {"SEALCAST_AUDIT_TABLE", "SEALCAST_STREAM_KEY", "SEALCAST_LOG"}
SETTINGS_OF_CALLERS = {"SEALCAST_IAM_ROLES", "SEALCAST_JWT_ROLES_CLAIM"}
SETTINGS_OF_STORES = {"SEALCAST_MODELS_BUCKET", "SEALCAST_REGISTRY_TABLE", "SEALCAST_REQUESTS_TABLE"}
SETTINGS_OF_THE_LOG = {
    "SEALCAST_LOG_BUCKET", "SEALCAST_LOG_TABLE", "SEALCAST_LOG_KEY", "SEALCAST_LOG_ORIGIN", "SEALCAST_EARLIER_LOG_KEYS",
}
SETTINGS_OF_THE_SPILL = {"SEALCAST_AUDIT_MODE", "SEALCAST_SPILL_BUCKET"}
SETTINGS = {
    "PredictFunction": SETTINGS_OF_CALLERS | SETTINGS_OF_STORES | SETTINGS_OF_THE_SPILL | {"SEALCAST_TRUSTED_KEYS"},
    "HealthFunction": SETTINGS_OF_CALLERS | SETTINGS_OF_STORES | SETTINGS_OF_THE_SPILL
    | {"SEALCAST_DATA_KEY", "SEALCAST_PREDICT_FUNCTION"},
    "AuditSealFunction": SETTINGS_OF_THE_LOG | {"SEALCAST_OPERATOR_STREAM_KEY", "SEALCAST_SPILL_BUCKET"},
    "AuditQueryFunction": SETTINGS_OF_THE_LOG | SETTINGS_OF_CALLERS,
    "AuditWatchFunction": set(),
}
TIMEOUTS_S = {"AuditSealFunction": 55}
"""15 where nothing else is said."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_a_traced_native_binary_with_its_own_log(name):
    short = name_of(name, "Function")
    properties = FUNCTIONS[name]["Properties"]
    assert properties["Runtime"] == "provided.al2023"
    assert properties["Handler"] == "bootstrap"
    assert properties["CodeUri"] == f"target/lambda/{short}/"
    assert FUNCTIONS[name]["Metadata"]["SkipBuild"] is True
    assert properties["Architectures"] == [{"Ref": "Architecture"}]
    assert properties["Tracing"] == "Active"
    assert properties["Timeout"] == TIMEOUTS_S.get(name, 15)
    assert properties["FunctionName"] == {"Fn::Sub": f"sealcast-${{Stage}}-{short}"}
    log = properties["LoggingConfig"]["LogGroup"]["Ref"]
    assert TEMPLATE["Resources"][log]["Properties"]["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/sealcast-${{Stage}}-{short}"}


def test_nothing_but_an_activation_sets_the_release():
    for function in FUNCTIONS.values():
        assert "SEALCAST_RELEASE" not in function["Properties"]["Environment"]["Variables"]


def test_functions_get_the_settings_that_their_code_reads_and_no_key_that_signs_models():
    settings = {name: set(function["Properties"]["Environment"]["Variables"]) for name, function in FUNCTIONS.items()}
    assert settings == {name: SETTINGS_OF_ALL | own for name, own in SETTINGS.items()}


NAME = "sealcast-" + "s" * 10
ARN_OF_A_KEY = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/12345678-1234-1234-1234-123456789012"
LONGEST = {
    "SEALCAST_MODELS_BUCKET": "b" * 63,
    "SEALCAST_REGISTRY_TABLE": f"{NAME}-RegistryTable-1ABCDEFGHIJKL",
    "SEALCAST_AUDIT_TABLE": f"{NAME}-AuditTable-1ABCDEFGHIJKL",
    "SEALCAST_REQUESTS_TABLE": f"{NAME}-RequestsTable-1ABCDEFGHIJKL",
    "SEALCAST_LOG_BUCKET": "b" * 63,
    "SEALCAST_LOG_TABLE": f"{NAME}-LogTable-1ABCDEFGHIJKL",
    "SEALCAST_LOG_KEY": ARN_OF_A_KEY,
    "SEALCAST_LOG_ORIGIN": f"sealcast.{'s' * 10}.us-gov-west-1.111122223333",
    "SEALCAST_SPILL_BUCKET": "b" * 63,
    "SEALCAST_AUDIT_MODE": "available",
    "SEALCAST_DATA_KEY": ARN_OF_A_KEY,
    "SEALCAST_STREAM_KEY": ARN_OF_A_KEY,
    "SEALCAST_OPERATOR_STREAM_KEY": ARN_OF_A_KEY,
    "SEALCAST_PREDICT_FUNCTION": f"{NAME}-predict",
    "SEALCAST_RELEASE": "r-" + "9" * 20,
}
# What Lambda measures is JSON: a quote takes two bytes there. Only IamRoles may have any.
LONGEST_OF_PARAMETERS = {"IamRoles": '"', "JwtRolesClaim": "c", "LogLevel": "l", "TrustedModelKeys": "k", "EarlierLogKeys": "k"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_environment_stays_below_four_kilobytes_whatever_the_parameters_hold(name):
    environment = {"SEALCAST_RELEASE": LONGEST["SEALCAST_RELEASE"]}
    for setting, value in FUNCTIONS[name]["Properties"]["Environment"]["Variables"].items():
        parameter = value.get("Fn::If", [None, value])[1].get("Ref")
        if fill := LONGEST_OF_PARAMETERS.get(parameter):
            environment[setting] = fill * TEMPLATE["Parameters"][parameter]["MaxLength"]
        else:
            environment[setting] = LONGEST[setting]
    assert len(json.dumps(environment)) < 4096


def allows(parameter: str, value: str) -> bool:
    found = TEMPLATE["Parameters"][parameter]
    return bool(re.fullmatch(found["AllowedPattern"], value)) and len(value) <= found["MaxLength"]


@pytest.mark.parametrize("parameter", LONGEST_OF_PARAMETERS)
def test_what_a_parameter_allows_takes_no_more_bytes_than_are_counted(parameter):
    assert allows(parameter, TEMPLATE["Parameters"][parameter]["Default"])
    for value in ["\\", "\n", "\x7f", "ä", *(['"'] if parameter != "IamRoles" else [])]:
        assert not allows(parameter, value), value
        assert not allows(parameter, f'{{"{value}": []}}'), value


@pytest.mark.parametrize("value", [
    "{}", '{"*": ["predictor"]}', '{"*":["predictor","auditor"]}',
    '{ "arn:aws:sts::111122223333:assumed-role/desk/*": ["predictor"], "arn:aws:iam::111122223333:user/ann" : [] }',
])
def test_roles_are_json(value):
    json.loads(value)
    assert allows("IamRoles", value)


@pytest.mark.parametrize("value", ["", "{", "}", "{*: [predictor]}", "{*:[predictor]}", '{"*": "predictor"}', '["predictor"]', '{"*": ["a"]'])
def test_what_a_shell_or_a_parser_left_of_roles_is_refused(value):
    assert not allows("IamRoles", value)


def test_keys_are_allowed_as_the_command_line_prints_them():
    key = "A+/b" * 31 + ";from=2026-11-22T12:00:00.123456Z;until=2027-11-22T12:00:00+01:00"
    assert allows("TrustedModelKeys", ",".join([key] * 3))


def test_earlier_keys_of_the_log_are_allowed_as_the_api_gives_them_and_reach_who_reads_checkpoints():
    key = "sealcast.prod.us-gov-west-1.111122223333+0a1b2c3d+" + "A+/b" * 11
    assert allows("EarlierLogKeys", ", ".join([key] * 4))
    setting = {"Fn::If": ["HasEarlierLogKeys", {"Ref": "EarlierLogKeys"}, {"Ref": "AWS::NoValue"}]}
    assert TEMPLATE["Conditions"]["HasEarlierLogKeys"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "EarlierLogKeys"}, ""]}]}
    for function in ("AuditSealFunction", "AuditQueryFunction"):
        assert FUNCTIONS[function]["Properties"]["Environment"]["Variables"]["SEALCAST_EARLIER_LOG_KEYS"] == setting


def test_no_deployment_moves_the_alias_of_predict():
    """CloudFormation updates what changed in the template. These two never may: an alias that was moved by an
    activation would go back to the first version, which has no release."""
    version, alias = TEMPLATE["Resources"]["PredictFirstVersion"], TEMPLATE["Resources"]["PredictLiveAlias"]
    assert version == {
        "Type": "AWS::Lambda::Version",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"FunctionName": {"Ref": "PredictFunction"}},
    }
    assert alias == {
        "Type": "AWS::Lambda::Alias",
        "Properties": {
            "Name": "live",
            "FunctionName": {"Ref": "PredictFunction"},
            "FunctionVersion": {"Fn::GetAtt": ["PredictFirstVersion", "Version"]},
        },
    }
    for function in FUNCTIONS.values():
        assert not {"AutoPublishAlias", "DeploymentPreference"} & set(function["Properties"])


def test_sam_adds_no_role_no_policy_no_version_and_no_api(monkeypatch):
    monkeypatch.setitem(os.environ, "AWS_DEFAULT_REGION", "us-east-1")
    source = read_template()
    for function in functions_of(source).values():
        function["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "function.zip"}
    result = Translator({}, Parser()).translate(source, parameter_values={"Stage": "dev"})
    before = {(name, resource["Type"].replace("Serverless", "Lambda")) for name, resource in TEMPLATE["Resources"].items()}
    assert {(name, resource["Type"]) for name, resource in result["Resources"].items()} == before
    for name in resources_of(TEMPLATE, "AWS::IAM::Role"):
        assert result["Resources"][name]["Properties"] == TEMPLATE["Resources"][name]["Properties"]


def test_every_function_has_an_alarm_for_its_errors_and_every_alarm_tells_somebody():
    alarms = resources_of(TEMPLATE, "AWS::CloudWatch::Alarm")
    watched = [alarm["Properties"]["Dimensions"][0]["Value"] for alarm in alarms.values()
               if alarm["Properties"].get("MetricName") == "Errors"]
    assert sorted(ref["Ref"] for ref in watched) == sorted(FUNCTIONS)
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert alarm["Properties"]["AlarmDescription"]


def test_what_a_filter_counts_has_an_alarm_and_security_events_are_counted_of_every_function():
    filters = [found["Properties"] for found in resources_of(TEMPLATE, "AWS::Logs::MetricFilter").values()]
    alarms = [found["Properties"] for found in resources_of(TEMPLATE, "AWS::CloudWatch::Alarm").values()]
    counted = {}
    for found in filters:
        [count] = found["MetricTransformations"]
        assert [alarm for alarm in alarms
                if (alarm.get("Namespace"), alarm.get("MetricName")) == (count["MetricNamespace"], count["MetricName"])]
        counted.setdefault(count["MetricName"], []).append(found["LogGroupName"]["Ref"])
    assert sorted(counted["SecurityEvents"]) == sorted(log_of(name) for name in FUNCTIONS)
    assert counted["Unavailable"] == ["ApiLog"]


def log_of(function: str) -> str:
    return FUNCTIONS[function]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]


def matches(pattern: str, line: dict) -> bool:
    """Whether CloudWatch Logs' pattern for JSON takes the line: comparisons of a field, with && and || between."""
    def compare(found: re.Match) -> str:
        field, operator, wanted = found[1] or found[2], found[3], found[4].strip('"')
        if operator == ">":
            return str(line.get(field, 0) > int(wanted))
        equal = field in line and fnmatch.fnmatchcase(line[field], wanted)
        return str(equal if operator == "=" else not equal)

    comparison = r"""\$\.(?:\['([^']+)'\]|(\w+)) (!?=|>) (\*|"[^"]*"|\d+)"""
    expression = re.sub(comparison, compare, pattern.removeprefix("{").removesuffix("}").strip())
    assert not re.sub(r"True|False|&&|\|\||[() ]", "", expression), pattern
    return eval(expression.replace("&&", "and").replace("||", "or"))  # noqa: S307: nothing but booleans


def metrics_of(log: str, line: dict) -> list[str]:
    """The metrics that count the line of this log group."""
    filters = [found["Properties"] for found in resources_of(TEMPLATE, "AWS::Logs::MetricFilter").values()]
    return sorted(found["MetricTransformations"][0]["MetricName"] for found in filters
                  if found["LogGroupName"] == {"Ref": log} and matches(found["FilterPattern"], line))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_tampering_and_what_callers_do_are_counted_apart(function):
    log = log_of(function)
    for code in ("model.digest_mismatch", "audit.event_altered", "spill.position_taken", "authority.x", "requests.x"):
        assert "SecurityEvents" in metrics_of(log, {"security.code": code})
        assert "RefusedCallers" not in metrics_of(log, {"security.code": code})
    has_callers = ["RefusedCallers"] if "SEALCAST_IAM_ROLES" in SETTINGS_OF_ALL | SETTINGS[function] else []
    for code in ("auth.missing", "auth.invalid", "auth.role_missing", "request.id_reused"):
        assert metrics_of(log, {"security.code": code}) == has_callers
    assert metrics_of(log, {"code": "auth.missing", "level": "ERROR"}) == []


def test_how_long_events_wait_to_be_sealed_is_counted_where_any_does():
    assert metrics_of("AuditSealLog", {"oldest_unsealed_s": 86_400}) == ["OldestUnsealed"]
    assert metrics_of("AuditSealLog", {"oldest_unsealed_s": 0}) == []


def test_whom_the_gateway_turns_away_is_counted_and_whom_a_function_does_not_twice():
    for status in ("401", "403"):
        assert metrics_of("ApiLog", {"status": status, "function_status": "-"}) == ["RefusedCallers"]
        assert metrics_of("ApiLog", {"status": status, "function_status": status}) == []
    for status in ("200", "404", "429"):
        assert metrics_of("ApiLog", {"status": status, "function_status": "-"}) == []
    assert metrics_of("ApiLog", {"status": "503", "function_status": "-"}) == ["Unavailable"]


def test_one_sign_of_tampering_is_an_alarm_and_refused_callers_beyond_a_number():
    tampering = TEMPLATE["Resources"]["SecurityAlarm"]["Properties"]
    assert (tampering["MetricName"], tampering["Threshold"], tampering["EvaluationPeriods"]) == ("SecurityEvents", 0, 1)
    callers = TEMPLATE["Resources"]["RefusedCallersAlarm"]["Properties"]
    assert (callers["MetricName"], callers["Threshold"]) == ("RefusedCallers", {"Ref": "RefusedCallersAlarmCount"})
    assert (callers["Period"], callers["Statistic"], callers["ComparisonOperator"]) == (300, "Sum", "GreaterThanThreshold")


def test_what_the_alarm_for_tampering_leaves_out_is_what_callers_alone_cause():
    """Codes that begin with `auth.` are those of requests: nothing else may hide behind them on Lambda."""
    sources = [path for folder in ("functions", "shared") for path in (ROOT / folder).glob("*/src/**/*.rs")]
    found = {(path.relative_to(ROOT).as_posix(), code) for path in sources
             for code in re.findall(r'"(auth\.\w+)"', path.read_text(encoding="utf-8"))}
    assert found == {("shared/web/src/caller.rs", code) for code in ("auth.missing", "auth.invalid", "auth.role_missing")}


def test_a_line_of_the_access_log_is_json_whatever_stands_in_it():
    """`messageString` brings quotation marks of its own."""
    text = TEMPLATE["Resources"]["ApiStage"]["Properties"]["AccessLogSettings"]["Format"]
    variables = json.loads(text)
    assert all(re.fullmatch(r"\$context\.[\w.]+", value) and not value.endswith("String") for value in variables.values())
    assert variables["function_status"] == "$context.integration.status"


def test_outputs_are_what_the_settings_of_a_stack_consist_of():
    outputs = {name: render(output["Value"]) for name, output in TEMPLATE["Outputs"].items()}
    assert outputs == {
        "ModelsBucket": "${ModelsBucket}",
        "RegistryTable": "${RegistryTable}",
        "AuditTable": "${AuditTable}",
        "RequestsTable": "${RequestsTable}",
        "DataKey": "${DataKey.Arn}",
        "ModelSigningKey": "${ModelSigningKey.Arn}",
        "StreamKey": "${StreamKey.Arn}",
        "OperatorStreamKey": "${OperatorStreamKey.Arn}",
        "LogBucket": "${LogBucket}",
        "LogTable": "${LogTable}",
        "LogKey": "${LogKey.Arn}",
        "LogOrigin": "sealcast.${Stage}.${AWS::Region}.${AWS::AccountId}",
        "SpillBucket": "${SpillBucket}",
        "PredictFunction": "${PredictFunction}",
        "ApiUrl": "${Api.ApiEndpoint}",
    }


def test_the_sealer_runs_every_minute_and_each_run_ends_before_the_next():
    schedule = TEMPLATE["Resources"]["AuditSealSchedule"]["Properties"]
    assert (schedule["ScheduleExpression"], schedule["State"]) == ("rate(1 minute)", "ENABLED")
    [target] = schedule["Targets"]
    assert render(target["Arn"]) == "${AuditSealFunction.Arn}"
    permission = TEMPLATE["Resources"]["AuditSealPermission"]["Properties"]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == {"Fn::GetAtt": ["AuditSealSchedule", "Arn"]}
    sealer = FUNCTIONS["AuditSealFunction"]["Properties"]
    assert sealer["Timeout"] < 60
    assert sealer["ReservedConcurrentExecutions"]["Fn::If"][:2] == ["ReservesConcurrency", 1]
    ticks = TEMPLATE["Resources"]["AuditSealTicks"]["Properties"]
    assert (ticks["MaximumRetryAttempts"], ticks["MaximumEventAgeInSeconds"]) == (0, 60)


def test_ten_minutes_without_a_good_run_of_the_sealer_are_an_alarm_also_where_there_is_no_run():
    sealer = [{"Name": "FunctionName", "Value": {"Ref": "AuditSealFunction"}}]
    failed = TEMPLATE["Resources"]["AuditSealErrorsAlarm"]["Properties"]
    assert (failed["MetricName"], failed["Dimensions"], failed["Threshold"]) == ("Errors", sealer, 0)
    assert failed["Period"] * failed["EvaluationPeriods"] <= 600
    alarm = TEMPLATE["Resources"]["NotSealedAlarm"]["Properties"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Dimensions"]) == ("Invocations", "Sum", sealer)
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 600
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert alarm["TreatMissingData"] == "breaching"


def test_events_that_wait_for_a_day_to_be_sealed_are_an_alarm_long_before_their_rows_expire():
    counted = TEMPLATE["Resources"]["OldestUnsealedFilter"]["Properties"]
    assert counted["LogGroupName"] == {"Ref": "AuditSealLog"}
    [metric] = counted["MetricTransformations"]
    field = metric["MetricValue"].removeprefix("$.")
    assert counted["FilterPattern"] == f"{{ $.{field} > 0 }}", "what is 0 is what is counted where nothing is said"
    assert (metric["DefaultValue"], metric["Unit"]) == (0, "Seconds")
    source = (ROOT / "functions" / "audit-seal" / "src" / "report.rs").read_text(encoding="utf-8")
    assert f"{field} = report.{field}," in source, "the sealer's line has the field"
    alarm = TEMPLATE["Resources"]["OldestUnsealedAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["MetricNamespace"], metric["MetricName"])
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    # One hour of a day is enough, for some streams are looked at once a day.
    assert (alarm["Period"] * alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (86_400, 1)
    # Rows expire after 90 days, and none within 30 of that may be unsealed.
    assert alarm["Threshold"] + 86_400 < (90 - 30) * 86_400 / 10
    assert alarm["OKActions"] == alarm["AlarmActions"]


def test_every_row_of_the_audit_table_that_is_changed_or_removed_is_looked_at():
    mapping = TEMPLATE["Resources"]["AuditWatchChanges"]["Properties"]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["AuditTable", "StreamArn"]}
    assert mapping["FunctionName"] == {"Ref": "AuditWatchFunction"}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    [pattern] = [json.loads(found["Pattern"]) for found in mapping["FilterCriteria"]["Filters"]]
    assert pattern == {"eventName": ["MODIFY", "REMOVE"]}
