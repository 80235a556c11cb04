"""infra/deploy.sh hands every parameter to SAM so that SAM reads what was given. SAM is its own parser here."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cloudformation import ROOT, functions_of, read_template
from permissions import name_of
from samcli.cli.types import CfnParameterOverridesType

ROLES = '{"arn:aws:sts::111122223333:assumed-role/desk/*": ["predictor", "auditor"], "*": []}'
KEY = "MFkw+/==;until=2027-11-22T12:00:00Z"
TOLD = """#!/usr/bin/env python3
import json, sys
with open("calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """deploy.sh among commands that do nothing; `sam` notes how it was called."""
    programs = {
        "infra/write_settings.py": "#!/bin/sh\ntouch \"$2\"; echo http://127.0.0.1 >\"${2%.env}.url\"\n",
        "tests/clients/make-venv.sh": "#!/bin/sh\n",
        ".venv-stack/bin/sam": TOLD,
        **{f"target/lambda/{name_of(function, 'Function')}/bootstrap": "" for function in functions_of(read_template())},
        "sealcast": f"#!/bin/sh\necho '{KEY}'\n",
    }
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "target/lambda/architecture").write_text("arm64\n")
    shutil.copy(ROOT / "infra" / "deploy.sh", tmp_path / "infra")
    return tmp_path


def deploy(place: Path, *parameters: str) -> subprocess.CompletedProcess:
    command = [place / "infra" / "deploy.sh", "dev", "./sealcast", *parameters]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_by_sam(place: Path) -> list[dict[str, str]]:
    """The parameters of each call, as SAM understands them."""
    calls = [json.loads(line) for line in (place / "calls").read_text().splitlines()]
    words = [tuple(call[call.index("--parameter-overrides") + 1:]) for call in calls]
    return [CfnParameterOverridesType().convert(given, None, None) for given in words]


def test_sam_reads_the_values_that_were_given(place):
    given = {"IamRoles": ROLES, "JwtAudience": "", "AlarmEmail": "a=b'c@example.com", "LogLevel": "info,predict=debug"}
    done = deploy(place, *(f"{name}={value}" for name, value in given.items()))
    assert done.returncode == 0, done.stderr
    first, second = read_by_sam(place)
    assert first == {"Stage": "dev", "Architecture": "arm64", **given}
    assert second == {"TrustedModelKeys": KEY}


def test_without_quotes_sam_would_cut_the_roles_off():
    assert CfnParameterOverridesType().convert((f"IamRoles={ROLES}",), None, None) == {"IamRoles": "{"}


@pytest.mark.parametrize(("parameter", "expected"), [
    ('IamRoles={"\\u002a": []}', "expected no backslash"),
    ("[predictor]}", "expected PARAMETER=VALUE"),
    ("=x", "expected PARAMETER=VALUE"),
])
def test_what_sam_would_misread_is_refused_before_anything_is_done(place, parameter, expected):
    done = deploy(place, "LogLevel=info", parameter)
    assert done.returncode == 2
    assert f"{parameter}: {expected}" in done.stderr
    assert not (place / "calls").exists()


def test_make_hands_on_quoted_parameters_as_they_are():
    command = ["make", "--no-print-directory", "-n", "deploy", f"PARAMETERS=LogLevel=info 'IamRoles={ROLES}'"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(done.stdout.splitlines()[-1])
    assert words == ["infra/deploy.sh", "dev", "target/local/sealcast", "LogLevel=info", f"IamRoles={ROLES}"]


@pytest.mark.parametrize("script", ["Makefile", "infra/build.sh", "infra/deploy.sh", "infra/deploy-local.sh"])
def test_every_function_is_built_and_deployed(script):
    names = [name_of(function, "Function") for function in functions_of(read_template())]
    assert " ".join(names) in (ROOT / script).read_text(encoding="utf-8")
