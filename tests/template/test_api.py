"""Every way into the API, and who is let in."""

import pytest
from cloudformation import read_template, render, resources_of

TEMPLATE = read_template()
ROUTES = {route["Properties"]["RouteKey"]: route for route in resources_of(TEMPLATE, "AWS::ApiGatewayV2::Route").values()}
OPEN = {"GET /healthz", "GET /readyz", "GET /v2/health/live", "GET /v2/health/ready", "GET /openapi.json"}
FUNCTION_OF_ROUTE = {
    "ANY /v1/audit/{proxy+}": "AuditQuery",
    "ANY /v1/{proxy+}": "Predict", "ANY /v2": "Predict", "ANY /v2/{proxy+}": "Predict", "GET /v1/status": "Health",
    "GET /healthz": "Health", "GET /readyz": "Health",
    "GET /v2/health/live": "Predict", "GET /v2/health/ready": "Predict", "GET /openapi.json": "Predict",
}


def test_nobody_comes_in_unknown_but_to_ask_whether_it_runs_and_what_it_offers():
    unknown = {key for key, route in ROUTES.items() if route["Properties"]["AuthorizationType"] == "NONE"}
    assert unknown == OPEN


def test_no_route_catches_what_no_other_does():
    assert "$default" not in ROUTES


def test_every_route_with_credentials_of_aws_has_its_twin_with_a_token():
    signed = {key for key, route in ROUTES.items() if route["Properties"]["AuthorizationType"] == "AWS_IAM"}
    tokens = {key for key, route in ROUTES.items() if route["Properties"]["AuthorizationType"] == "JWT"}
    assert {key.replace(" /", " /jwt/", 1) for key in signed} == tokens
    assert signed | tokens | OPEN == set(ROUTES)


def test_routes_with_a_token_exist_only_with_an_issuer_and_an_audience():
    for key, route in ROUTES.items():
        token = route["Properties"]["AuthorizationType"] == "JWT"
        assert (route.get("Condition") == "HasJwt") is token, key
        assert (route["Properties"].get("AuthorizerId") == {"Ref": "JwtAuthorizer"}) is token, key
    authorizer = TEMPLATE["Resources"]["JwtAuthorizer"]
    assert authorizer["Condition"] == "HasJwt"
    assert authorizer["Properties"]["JwtConfiguration"] == {"Issuer": {"Ref": "JwtIssuer"}, "Audience": [{"Ref": "JwtAudience"}]}


@pytest.mark.parametrize("key", ROUTES)
def test_a_route_leads_to_the_alias_of_its_function(key):
    function = FUNCTION_OF_ROUTE[key.replace("/jwt", "", 1)]
    assert render(ROUTES[key]["Properties"]["Target"]) == f"integrations/${{{function}Integration}}"
    integration = TEMPLATE["Resources"][f"{function}Integration"]["Properties"]
    assert integration["PayloadFormatVersion"] == "2.0"
    assert render(integration["IntegrationUri"]).endswith(f"/functions/${{{function}LiveAlias}}/invocations")


@pytest.mark.parametrize("function", sorted(set(FUNCTION_OF_ROUTE.values())))
def test_the_gateway_waits_longer_than_the_function_starts_and_works(function):
    timeout_ms = TEMPLATE["Resources"][f"{function}Integration"]["Properties"]["TimeoutInMillis"]
    init_ms = 10_000
    assert TEMPLATE["Resources"][f"{function}Function"]["Properties"]["Timeout"] * 1000 + init_ms < timeout_ms <= 30_000


@pytest.mark.parametrize("function", sorted(set(FUNCTION_OF_ROUTE.values())))
def test_only_this_api_calls_a_function_and_only_its_alias(function):
    permissions = [found["Properties"] for found in resources_of(TEMPLATE, "AWS::Lambda::Permission").values()
                   if found["Properties"]["FunctionName"] == {"Ref": f"{function}LiveAlias"}]
    assert len(permissions) == 1
    assert permissions[0]["Principal"] == "apigateway.amazonaws.com"
    assert render(permissions[0]["SourceArn"]).endswith(":${Api}/*/*")
    of_schedules = {"AuditSealPermission"}
    of_functions = {f"{function}Permission" for function in FUNCTION_OF_ROUTE.values()}
    assert set(resources_of(TEMPLATE, "AWS::Lambda::Permission")) == of_functions | of_schedules


def test_routes_that_are_open_are_throttled_by_themselves_and_below_what_callers_have():
    stage = TEMPLATE["Resources"]["ApiStage"]
    assert set(stage["Properties"]["RouteSettings"]) == OPEN
    for key, limits in stage["Properties"]["RouteSettings"].items():
        assert limits == {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 100}, key
    assert 50 < TEMPLATE["Parameters"]["ThrottlingRate"]["Default"]
    keys = {TEMPLATE["Resources"][name]["Properties"]["RouteKey"] for name in stage["DependsOn"]}
    assert keys == OPEN, "CloudFormation would make the stage before the route that it throttles"


def test_the_stage_is_throttled_and_logs_every_request_on_one_line():
    stage = TEMPLATE["Resources"]["ApiStage"]["Properties"]
    assert stage["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": {"Ref": "ThrottlingRate"}, "ThrottlingBurstLimit": {"Ref": "ThrottlingBurst"},
    }
    assert stage["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["ApiLog", "Arn"]}
    assert "\n" not in stage["AccessLogSettings"]["Format"]
