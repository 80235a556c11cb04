#!/usr/bin/env python3
"""Writes the bodies of the benchmark from the example: make_bodies.py EXAMPLE FOLDER."""

import csv
import json
import sys
from pathlib import Path

BATCH = 100


def main(example: Path, folder: Path) -> None:
    for name in ("v1", "v2"):
        (folder / f"{name}.json").write_bytes((example / f"request-{name}.json").read_bytes())
    with open(example / "features.csv", encoding="utf-8", newline="") as file:
        rows = [[float(value) for value in row[1:]] for row in list(csv.reader(file))[1 : BATCH + 1]]
    batch = {"rows": [{"symbol": "SPX", "features": row} for row in rows]}
    (folder / "batch.json").write_text(json.dumps(batch), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
