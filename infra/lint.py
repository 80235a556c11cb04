#!/usr/bin/env python3
"""Holds template.yaml to what AWS accepts and to checkov's rules for how a stack should be built.

    lint.py CHECKOV      the path of the checkov to run; sam and cfn-lint are those on the PATH

cfn-lint knows what CloudFormation takes, sam what its transform takes. A checkov rule that is not followed is skipped
where it is broken, with its reason, in the resource's `Metadata`; a skip without a reason, or one that nothing needs
any more, is a fault here.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TEMPLATE = Path("template.yaml")
LEAST_WORDS_OF_A_REASON = 4


def main() -> int:
    [checkov] = sys.argv[1:]
    os.chdir(Path(__file__).resolve().parents[1])
    os.environ["SAM_CLI_TELEMETRY"] = "0"
    faults = run("sam", "validate", "--lint", "--template", TEMPLATE)
    faults += run("cfn-lint", "--include-checks", "I", "--regions", "us-east-1", "eu-central-1", "--template", TEMPLATE)
    try:
        faults += check(checkov)
    except (ValueError, KeyError, TypeError) as error:
        faults.append(f"checkov gave no results: {error}")
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"template: {'every rule holds' if not faults else f'{len(faults)} faults'}")
    return 1 if faults else 0


def run(*command) -> list[str]:
    """What a linter has to say, where it is not content."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"{command[0]}: {done.stdout}{done.stderr}".strip()]


def check(checkov: str) -> list[str]:
    """Broken rules, skips without a reason, and skips of what is not broken."""
    results = ask(checkov, TEMPLATE)
    faults = [f"checkov: {rule['check_id']} {rule['check_name']}: {rule['resource']}" for rule in results["failed_checks"]]
    for rule in results["skipped_checks"]:
        reason = rule["check_result"].get("suppress_comment") or ""
        if len(reason.split()) < LEAST_WORDS_OF_A_REASON:
            faults.append(f"checkov: {rule['check_id']} is skipped without a reason: {rule['resource']}")
    with tempfile.TemporaryDirectory() as folder:
        unskipped = Path(folder) / TEMPLATE.name
        unskipped.write_text(TEMPLATE.read_text(encoding="utf-8").replace(" checkov:", " skips:"), encoding="utf-8")
        broken = identify(ask(checkov, unskipped)["failed_checks"])
    unused = identify(results["skipped_checks"]) - broken
    return faults + [f"checkov: {rule} is skipped, but not broken: {resource}" for rule, resource in sorted(unused)]


def ask(checkov: str, template: Path) -> dict:
    """The results of checkov for a template, which it must be able to read."""
    command = [checkov, "--file", template, "--framework", "cloudformation", "--skip-download", "--output", "json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    results = json.loads(done.stdout)["results"]
    if results["parsing_errors"]:
        raise ValueError("it could not read the template")
    return results


def identify(rules: list[dict]) -> set[tuple[str, str]]:
    return {(rule["check_id"], rule["resource"]) for rule in rules}


if __name__ == "__main__":
    sys.exit(main())
