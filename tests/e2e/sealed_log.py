"""The sealed log of the deployed stack: the sealer, what auditors ask, and verifiers that are not ours."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from conftest import ROOT, STAGE, Stack

GO_PACKAGES = Path("/usr/share/gocode")
VERIFY = ROOT / "docs" / "verify"


def name_of(function: str) -> str:
    return f"sealcast-{STAGE}-{function}"


@dataclass(frozen=True)
class Run:
    """What became of one run of the sealer."""

    report: dict
    failed: bool


def run_sealer(stack: Stack, qualifier: str = "$LATEST") -> Run:
    """Calls the sealer once, as the schedule does, and waits for it."""
    client = boto3.client("lambda", config=Config(read_timeout=120, retries={"max_attempts": 1}))
    done = client.invoke(FunctionName=name_of("audit-seal"), Qualifier=qualifier, Payload=b"{}")
    return Run(json.loads(done["Payload"].read()), "FunctionError" in done)


def seal(stack: Stack) -> dict:
    """Seals everything that is there; the report of the last run."""
    for _ in range(20):
        run = run_sealer(stack)
        assert not run.failed, run.report
        if run.report["outcome"] == "done":
            return run.report
    raise AssertionError(f"twenty runs do not end: {run.report}")


@dataclass(frozen=True)
class SealedEvent:
    """An event as `audit-query` gives it, and its bytes as they were recorded."""

    told: dict
    entry: bytes

    @classmethod
    def read(cls, text: str) -> "SealedEvent":
        told = json.loads(text)
        start = text.index('"entry":') + len('"entry":')
        _, end = json.JSONDecoder().raw_decode(text, start)
        return cls(told, text[start:end].encode())

    @property
    def place(self) -> str:
        return f"{self.told['stream']}/{self.told['seq']}"


@dataclass(frozen=True)
class Auditor:
    """Somebody with the auditor's policy, who asks the API."""

    stack: Stack
    who: object

    def ask(self, path: str):
        return self.stack.gateway.signed(self.who, "GET", f"/v1/audit/{path}")

    def get(self, path: str) -> str:
        answer = self.ask(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def find(self, **filters) -> list[dict]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return json.loads(self.get(f"events?{query}"))["events"]

    def event(self, place: str) -> SealedEvent:
        return SealedEvent.read(self.get(f"events/{place}"))

    def copy_log(self, folder: Path) -> None:
        """Copies checkpoint and tiles out of the bucket, with the auditor's own credentials."""
        s3, bucket = self.stack.client("s3", self.who), self.stack["LOG_BUCKET"]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        for key in ["checkpoint", *(key for key in keys if key.startswith("tile/"))]:
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


@dataclass(frozen=True)
class Verifiers:
    """Go's sumdb packages where they are installed, and Python's standard library."""

    vkey: Path
    go: Path | None

    @classmethod
    def build(cls, folder: Path, vkey: str) -> "Verifiers":
        file = folder / "log.vkey"
        file.write_text(vkey, encoding="utf-8")
        go = shutil.which("go")
        if go is None or not (GO_PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
            return cls(file, None)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOFLAGS": "", "GOCACHE": str(folder / "go")}
        program = folder / "verify_log"
        subprocess.run([go, "build", "-o", program, VERIFY / "verify_log.go"], env=environment, check=True)
        return cls(file, program)

    def commands(self, *arguments) -> list[list]:
        python = [["python3", VERIFY / "verify_log.py", *arguments]]
        return python if self.go is None else [*python, [self.go, self.vkey, *arguments]]

    def refusals(self, *arguments) -> list[str]:
        """What each verifier that is not content says."""
        done = [subprocess.run(command, capture_output=True, text=True) for command in self.commands(*arguments)]
        return [f"{run.stdout}{run.stderr}" for run in done if run.returncode != 0]

    def __len__(self) -> int:
        return 1 if self.go is None else 2
