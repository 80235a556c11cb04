#!/usr/bin/env python3
"""Prints what the runs measured: print_table.py RESULTS."""

import json
import sys
from pathlib import Path

COLUMNS = ["run", "answers/s", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs", "not 200", "degraded", "MiB", "cores", "others"]


def describe(path: Path) -> list[str]:
    run = json.loads(path.read_text(encoding="utf-8"))
    latency, server = run["latency_us"], run["server"]
    others = sum(count for status, count in run["statuses"].items() if status != "200")
    return [
        path.stem,
        f"{run['successes_per_s']:,.0f}",
        *(f"{latency[name]:,}" for name in ("p50", "p90", "p99", "p99_9", "max")),
        f"{others + sum(run['failures'].values()):,}",
        f"{run['degraded']:,}",
        f"{server['rss_mib']:,.0f}",
        f"{server['cpu_s'] / run['elapsed_s']:.2f}",
        f"{run['others_cpu_s'] / run['elapsed_s']:.2f}",
    ]


def main(results: Path) -> None:
    table = [COLUMNS, *(describe(path) for path in sorted(results.glob("*.json")))]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    print()
    for row in table:
        print("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]))
    print(
        "\nOnly answers with status 200 count; latencies are theirs. MiB and cores are the server's (all its processes'),"
        "\n`others` is what neither it nor the generator used of the machine: the kernel's share, and whoever else is busy."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
