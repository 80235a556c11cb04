"""What the tests of the deployed functions share: the stack, people with exactly one policy each, and the CLI.

inside.sh deploys the stack and names it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials
from gateway import REGION, Example, Gateway
from tokens import get_token

ROOT = Path(__file__).resolve().parents[2]
STAGE = os.environ["SEALCAST_E2E_STAGE"]
MODEL = "spx-direction"


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its settings, its API, and clients with the account's own credentials."""

    settings: dict[str, str]
    settings_file: Path
    gateway: Gateway

    def __getitem__(self, name: str) -> str:
        return self.settings[f"SEALCAST_{name}"]

    def client(self, service: str, who: Credentials | None = None):
        """A client, the account's own or somebody's."""
        given = {}
        if who is not None:
            given = {"aws_access_key_id": who.access_key, "aws_secret_access_key": who.secret_key}
            given["aws_session_token"] = who.token
        return boto3.client(service, region_name=REGION, **given)


@pytest.fixture(scope="session")
def stack() -> Stack:
    file = ROOT / ".sealcast" / f"stack-{STAGE}.env"
    lines = file.read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    url = file.with_suffix(".url").read_text(encoding="utf-8").strip()
    return Stack(settings, file, Gateway(url))


@pytest.fixture(scope="session")
def example() -> Example:
    return Example.read(ROOT / "examples" / MODEL)


@pytest.fixture(scope="session")
def people(stack) -> dict[str, Credentials]:
    """Users, each with one of the template's policies: caller, sealer, releaser, auditor; and one with none."""
    iam = stack.client("iam")
    found = {}
    for name in ("caller", "sealer", "releaser", "auditor", "nobody"):
        iam.create_user(UserName=name)
        if name != "nobody":
            policy = f"arn:aws:iam::000000000000:policy/sealcast-{STAGE}-{name}-{REGION}"
            iam.attach_user_policy(UserName=name, PolicyArn=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    return found


@pytest.fixture(scope="session")
def token() -> str:
    return get_token("alice", "predictor")


@dataclass(frozen=True)
class CommandLine:
    """`sealcast --json` on the deployed stack."""

    stack: Stack

    def run(self, who: Credentials, *arguments: str | Path) -> dict:
        """What it prints; fails the test with its words where it refuses."""
        done = self.start(who, *arguments)
        assert done.returncode == 0, f"sealcast {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def start(self, who: Credentials, *arguments: str | Path) -> subprocess.CompletedProcess:
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": who.access_key, "AWS_SECRET_ACCESS_KEY": who.secret_key}
        environment["SEALCAST_STACK"] = str(self.stack.settings_file)
        environment.pop("SEALCAST_DATA", None)
        command = [os.environ["SEALCAST_E2E_CLI"], "--json", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def sealcast(stack) -> CommandLine:
    return CommandLine(stack)


@contextmanager
def take_role(stack: Stack, function: str) -> Iterator[Credentials]:
    """Credentials of a function's execution role. Lambda alone may assume it, so its trust is widened for as long."""
    iam, name = stack.client("iam"), f"sealcast-{STAGE}-{function}-{REGION}"
    role = iam.get_role(RoleName=name)["Role"]
    trust = role["AssumeRolePolicyDocument"]
    account = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    widened = {**trust, "Statement": [*trust["Statement"], account]}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(widened))
    given = stack.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="e2e")["Credentials"]
    yield Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))


@pytest.fixture(scope="session")
def predict_role(stack) -> Iterator[Credentials]:
    with take_role(stack, "predict") as role:
        yield role
