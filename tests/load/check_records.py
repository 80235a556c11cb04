#!/usr/bin/env python3
"""Holds the records against the answers: check_records.py SEALCAST DATA RESULTS RECEIPTS.

Every stream must verify, there must be a prediction event for every answer with status 200, and each receipt that was
kept must be the hash of the record that it names.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path


def main(sealcast: Path, data: Path, results: Path, receipts: Path) -> int:
    events, predictions, milliseconds = 0, 0, 0.0
    key = data / "keys" / "stream-registration.pub.pem"
    for stream in sorted((data / "audit").glob("*.jsonl")):
        done = subprocess.run(
            [sealcast, "--json", "audit", "verify", stream, "--key", key], capture_output=True, text=True
        )
        if done.returncode != 0:
            print(f"{stream.name} does not verify: {done.stdout}{done.stderr}", file=sys.stderr)
            return 1
        report = json.loads(done.stdout)
        events += report["events"]
        predictions += report["kinds"].get("prediction", 0)
        milliseconds += report["duration_ms"]
    reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    # The peer keeps no record.
    runs = {name: run for name, run in reports.items() if "peer" not in name}
    for name, run in runs.items():
        if run["without_receipt"]:
            print(f"{name}: {run['without_receipt']} answers have no receipt", file=sys.stderr)
            return 1
    answers = sum(run["successes"] for run in runs.values())
    print(
        f"sealcast audit verify accepts {events:,} events in {milliseconds / 1000:.1f} s; "
        f"{predictions:,} predictions for {answers:,} answers and those of the warm-ups"
    )
    if answers == 0 or predictions < answers:
        print("answers are not recorded", file=sys.stderr)
        return 1
    kept = read_receipts(receipts)
    wrong = find_wrong(data / "audit", kept)
    if wrong or not kept:
        print(f"{len(wrong)} of {len(kept)} receipts are not in the log, for example {wrong[:1]}", file=sys.stderr)
        return 1
    print(f"{len(kept):,} receipts are the hashes of the records that they name")
    return 0


def read_receipts(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def find_wrong(audit: Path, receipts: list[str]) -> list[str]:
    """The receipts that name no record, or another one."""
    wanted: dict[str, dict[int, str]] = {}
    wrong = []
    for receipt in receipts:
        stream, seq, leaf_hash = receipt.split(":")
        if wanted.setdefault(stream, {}).setdefault(int(seq), leaf_hash) != leaf_hash:
            wrong.append(receipt)
    for stream, records in wanted.items():
        with open(audit / f"{stream}.jsonl", "rb") as lines:
            next(lines)  # the registration
            for seq, line in enumerate(lines):
                leaf_hash = records.pop(seq, None)
                if leaf_hash is None:
                    continue
                entry = line[len(b'{"entry":') : line.rindex(b',"sig":')]
                if hashlib.sha256(b"\0" + entry).hexdigest() != leaf_hash:
                    wrong.append(f"{stream}:{seq}:{leaf_hash}")
        wrong += [f"{stream}:{seq}:{leaf_hash}" for seq, leaf_hash in records.items()]
    return wrong


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:5])))
