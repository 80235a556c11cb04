"""Predictions of the deployed stack are sealed, found and proved; what the sealer cannot do, it says."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from events import find_events
from sealed_log import Auditor, Verifiers, name_of, run_sealer, seal

TICKS_WITHIN_S = 90
WATCHED_WITHIN_S = 60


@pytest.fixture(scope="module", autouse=True)
def schedule(stack) -> Iterator[str]:
    """The rule that calls the sealer, at rest: what is sealed here is sealed by the tests. Gives its name."""
    events = stack.client("events")
    [rule] = [rule["Name"] for rule in events.list_rules()["Rules"] if rule.get("ScheduleExpression") == "rate(1 minute)"]
    events.disable_rule(Name=rule)
    yield rule
    events.enable_rule(Name=rule)


@pytest.fixture(scope="module")
def auditor(stack, people) -> Auditor:
    return Auditor(stack, people["auditor"])


@pytest.fixture(scope="module")
def verifiers(stack, auditor, schedule, tmp_path_factory) -> Verifiers:
    seal(stack)
    return Verifiers.build(tmp_path_factory.mktemp("verifiers"), auditor.get("log.vkey"))


def predict(stack, people, example) -> tuple[str, str]:
    """Asks for a prediction; the place of its event, and its request id."""
    answer = stack.gateway.signed(people["caller"], "POST", "/v1/predict", example.request)
    assert answer.status_code == 200, answer.text
    stream, seq, _ = answer.headers["sealcast-receipt"].split(":")
    return f"{stream}/{seq}", answer.headers["x-request-id"]


def test_a_prediction_is_found_by_its_request_and_proved_to_programs_of_others(
    stack, people, example, auditor, verifiers, tmp_path: Path
):
    place, request_id = predict(stack, people, example)
    [before] = auditor.find(request_id=request_id)
    assert f"{before['stream']}/{before['seq']}" == place and before["sealed"] is False
    assert auditor.ask(f"events/{place}/proof").status_code == 409

    seal(stack)
    [found] = auditor.find(request_id=request_id)
    assert found["sealed"] is True and found["leaf_hash"] == before["leaf_hash"]
    event = auditor.event(place)
    assert event.told["entry"]["data"]["principal"] == "arn:aws:iam::000000000000:user/caller"

    proof, entry = tmp_path / "event.tlog-proof", tmp_path / "event.json"
    proof.write_text(auditor.get(f"events/{place}/proof"), encoding="utf-8")
    entry.write_bytes(event.entry)
    assert verifiers.refusals("proof", proof, entry) == []
    entry.write_bytes(event.entry.replace(b"user/caller", b"user/cellar"))
    assert len(verifiers.refusals("proof", proof, entry)) == len(verifiers)


def test_what_was_released_is_in_the_log(stack, auditor, verifiers):
    seal(stack)
    events = auditor.find(kind="release")
    assert events and all(event["sealed"] for event in events)
    told = {(data["action"], data["release"], data["outcome"]) for event in events
            if (data := event["entry"]["data"])["outcome"] == "done"}
    assert {("create", "r-000001", "done"), ("activate", "r-000001", "done")} <= told


def test_the_whole_log_verifies_with_the_keys_of_functions_and_of_people(stack, people, sealcast, auditor, tmp_path: Path):
    seal(stack)
    copy, vkey = tmp_path / "copy", tmp_path / "log.vkey"
    auditor.copy_log(copy)
    vkey.write_text(auditor.get("log.vkey"), encoding="utf-8")
    keys = ["--key", vkey]
    for name in ("stream", "operator-stream"):
        told = sealcast.run(people["auditor"], "key", "show", name)
        pem = tmp_path / f"{name}.pem"
        pem.write_text(told["public_key"], encoding="utf-8")
        keys += ["--key", pem]
    assert sealcast.run(people["auditor"], "audit", "verify", "--log", copy, *keys)["signatures"] > 0
    without_people = sealcast.start(people["auditor"], "audit", "verify", "--log", copy, *keys[:-2])
    assert without_people.returncode == 1
    assert "audit.registration_unknown" in without_people.stdout


def test_a_copy_of_the_bucket_verifies_whole_and_not_with_a_bit_flipped(auditor, verifiers, tmp_path: Path):
    auditor.copy_log(tmp_path)
    assert verifiers.refusals("log", tmp_path) == []
    size = int((tmp_path / "checkpoint").read_text().splitlines()[1])
    number, width = (size - 1) // 256, (size - 1) % 256 + 1
    bundle = tmp_path / "tile" / "entries" / (f"{number:03}" if width == 256 else f"{number:03}.p/{width}")
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(bytes(content))
    assert len(verifiers.refusals("log", tmp_path)) == len(verifiers)


def test_the_log_only_grows_and_what_was_proved_stays_where_it_is(stack, people, example, auditor, verifiers):
    place, _ = predict(stack, people, example)
    first = seal(stack)["size"]
    index = auditor.event(place).told["index"]
    predict(stack, people, example)
    assert seal(stack)["size"] > first
    assert auditor.event(place).told["index"] == index


def test_sealers_at_once_seal_every_event_once(stack, people, example, auditor, verifiers, tmp_path: Path):
    places = [predict(stack, people, example)[0] for _ in range(6)]
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run_sealer(stack), range(4)))
    assert not any(run.failed for run in runs), runs
    assert {run.report["outcome"] for run in runs} <= {"done", "more", "overtaken"}
    seal(stack)
    sealed = [auditor.event(place).told for place in places]
    assert all(event["sealed"] for event in sealed)
    assert len({event["index"] for event in sealed}) == len(places)
    auditor.copy_log(tmp_path)
    assert verifiers.refusals("log", tmp_path) == []


def test_the_schedule_seals_by_itself(stack, people, example, auditor, verifiers, schedule):
    place, _ = predict(stack, people, example)
    events = stack.client("events")
    events.enable_rule(Name=schedule)
    until = time.monotonic() + TICKS_WITHIN_S
    while not auditor.event(place).told["sealed"]:
        assert time.monotonic() < until, "the schedule sealed nothing"
        time.sleep(1)
    events.disable_rule(Name=schedule)


@pytest.fixture
def disabled_log_key(stack) -> Iterator[None]:
    kms = stack.client("kms")
    kms.disable_key(KeyId=stack["LOG_KEY"])
    yield
    kms.enable_key(KeyId=stack["LOG_KEY"])


def test_without_its_key_nothing_is_sealed_and_predictions_go_on(
    stack, people, example, auditor, verifiers, disabled_log_key
):
    place, _ = predict(stack, people, example)
    run = run_sealer(stack)
    assert run.failed, run.report
    assert auditor.event(place).told["sealed"] is False
    assert predict(stack, people, example)
    stack.client("kms").enable_key(KeyId=stack["LOG_KEY"])
    seal(stack)
    assert auditor.event(place).told["sealed"] is True


@pytest.fixture
def lost_log_table(stack) -> Iterator[None]:
    """The sealer looks for its lock in a table that is not there."""
    client, function = stack.client("lambda"), name_of("audit-seal")
    before = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]

    def configure(variables: dict) -> None:
        client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
        client.get_waiter("function_updated_v2").wait(FunctionName=function)

    configure({**before, "SEALCAST_LOG_TABLE": "sealcast-e2e-gone"})
    yield
    configure(before)


def test_without_its_lock_nothing_is_sealed_and_predictions_go_on(
    stack, people, example, auditor, verifiers, lost_log_table
):
    size = auditor.get("checkpoint").splitlines()[1]
    place, _ = predict(stack, people, example)
    run = run_sealer(stack)
    assert run.failed, run.report
    assert auditor.get("checkpoint").splitlines()[1] == size
    assert auditor.event(place).told["sealed"] is False


def test_the_sealer_goes_on_after_its_lock_is_back(stack, people, example, auditor, verifiers):
    place, _ = predict(stack, people, example)
    seal(stack)
    assert auditor.event(place).told["sealed"] is True


def test_queries_ask_for_a_role_and_are_events_themselves(stack, people, example, auditor, verifiers, token):
    _, request_id = predict(stack, people, example)
    for who in ("caller", "sealer", "nobody"):
        answer = stack.gateway.signed(people[who], "GET", "/v1/audit/checkpoint")
        assert answer.status_code == 403, (who, answer.text)
    answer = stack.gateway.with_token(token, "GET", "/v1/audit/checkpoint")
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.role_missing"), answer.text
    assert auditor.find(request_id=request_id)
    told = find_events(stack, "query", request_id)
    assert told and all(event["data"]["principal"] == "arn:aws:iam::000000000000:user/auditor" for event in told)


def test_a_removed_and_a_changed_row_become_security_events(stack):
    client, table = stack.client("dynamodb"), stack["AUDIT_TABLE"]
    row = {"pk": {"S": "S#e2e-watched"}, "sk": {"S": f"{time.time_ns():020}"}}
    client.put_item(TableName=table, Item={**row, "entry": {"B": b"before"}})
    client.put_item(TableName=table, Item={**row, "entry": {"B": b"after"}})
    client.delete_item(TableName=table, Key=row)
    codes = ("audit.row_changed", "audit.row_removed")
    until = time.monotonic() + WATCHED_WITHIN_S
    while not all(find_events(stack, "security", code, row["sk"]["S"]) for code in codes):
        assert time.monotonic() < until, json.dumps(find_events(stack, "security", row["sk"]["S"]))
        time.sleep(0.5)
    [changed], [removed] = [find_events(stack, "security", code, row["sk"]["S"]) for code in codes]
    for event in (changed, removed):
        assert event["data"]["subject"] == f"S#e2e-watched {row['sk']['S']}"
        assert "leaf hash" in event["data"]["detail"]
