#!/usr/bin/env python3
"""Writes what a deployed stack consists of as settings: what `sealcast --stack FILE` reads.

    write_settings.py CLOUDFORMATION-STACK FILE.env

Output `ModelsBucket` becomes `SEALCAST_MODELS_BUCKET=...`, parameter `TrustedModelKeys` becomes
`SEALCAST_TRUSTED_KEYS`. The API's address goes to a file of its own, FILE.url.
"""

import os
import re
import sys
from pathlib import Path

import boto3


def main() -> int:
    name, path = sys.argv[1:]
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    parameters = {given["ParameterKey"]: given["ParameterValue"] for given in stack.get("Parameters", [])}
    url = outputs.pop("ApiUrl", None)
    if url is None:
        print(f"stack {name} has no output ApiUrl: was it deployed from this template?", file=sys.stderr)
        return 1
    settings = {name_setting(output): value for output, value in outputs.items()}
    if trusted := parameters.get("TrustedModelKeys"):
        settings["SEALCAST_TRUSTED_KEYS"] = trusted
    lines = [f"{setting}={value}\n" for setting, value in sorted(settings.items())]
    write(Path(path), f"# The stack {name}.\n{''.join(lines)}")
    write(Path(path).with_suffix(".url"), f"{find_address(url)}\n")
    return 0


def name_setting(output: str) -> str:
    return "SEALCAST_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", output).upper()


def find_address(url: str) -> str:
    """The API's address. Where AWS is one machine, the gateway has no name of its own: its address is a path there."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return url
    api = re.sub(r"^https?://", "", url).split(".")[0]
    return f"{endpoint}/_aws/execute-api/{api}/$default"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
