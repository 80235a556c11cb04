"""docs/deploy.md tells what the template does."""

import re

import pytest
from cloudformation import ROOT, functions_of, read_template, resources_of
from permissions import name_of, read_golden

TEMPLATE = read_template()
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next of any level."""
    return re.split(r"\n#+ ", PAGE.split(f" {title}\n", 1)[1], maxsplit=1)[0]


def parameters_told() -> dict[str, str]:
    """The parameters that the table has, with what stands in the column of defaults."""
    rows = [line.split("|") for line in section("Parameters").splitlines() if line.startswith("| `")]
    return {name: row[2].replace("`", "") for row in rows for name in re.findall(r"`(\w+)`", row[1])}


def test_the_table_has_every_parameter_and_no_other():
    assert set(parameters_told()) == set(TEMPLATE["Parameters"])


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_a_parameter_has_the_default_that_the_table_says(name):
    assert str(TEMPLATE["Parameters"][name]["Default"]) in parameters_told()[name]


def test_the_first_stage_that_must_reserve_is_named():
    assert "Stage `prod` does not deploy without" in PAGE
    assert TEMPLATE["Rules"]["ProductionReserves"]["RuleCondition"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}


@pytest.mark.parametrize("function", [name_of(name, "Function") for name in functions_of(TEMPLATE)])
def test_every_permission_of_a_function_stands_in_its_table(function):
    text = section(function)
    shared = section("predict")
    for row in read_golden()[function]:
        action = row["action"].split(":")[1]
        if action == "AssumeRole":
            continue
        told = text if action in text or function == "predict" else shared
        assert action in told, f"{function}: {row['action']}"


def test_what_watching_costs_is_added_up_from_what_there_is():
    alarms = len(resources_of(TEMPLATE, "AWS::CloudWatch::Alarm"))
    filters = resources_of(TEMPLATE, "AWS::Logs::MetricFilter").values()
    metrics = len({found["Properties"]["MetricTransformations"][0]["MetricName"] for found in filters})
    told = f"{alarms} alarms and {metrics} metrics {alarms * 0.10 + metrics * 0.30:.2f}"
    assert told in " ".join(PAGE.split())


def test_every_policy_for_people_is_told():
    text = section("People")
    for policy in resources_of(TEMPLATE, "AWS::IAM::ManagedPolicy"):
        assert f"| `{name_of(policy, 'Policy')}` |" in text
