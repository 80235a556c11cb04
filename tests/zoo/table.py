"""The table of docs/models.md: written by `run.sh --write`, read back to hold the zoo to it."""

import math
import pathlib

import judge

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- zoo: written by tests/zoo/run.sh --write -->", "<!-- /zoo -->"


def cell(text: str) -> str:
    """Fit for one cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def round_up(value: float) -> str:
    """To a power of ten: what differs between processors is not told."""
    if not math.isfinite(value):
        return ""
    return "0" if value == 0 else f"1e{math.ceil(math.log10(value))}"


def describe(record: dict, verdict: judge.Verdict) -> str:
    if verdict.status == judge.SUPPORTED:
        return "the exporter changes the model: see tests/zoo/README.md" if is_changed(record) else ""
    mend = f"; `{record['mend']}` runs" if "mend" in record else ""
    return verdict.reason + mend


def is_changed(record: dict) -> bool:
    """True where onnxruntime's answers on the file are not the library's; a lower precision is meant to differ."""
    return record["dtype"] not in ("int8", "float16") and record.get("onnxruntime_to_library", 0.0) > 1e-4


def render(results: list[tuple[dict, judge.Verdict]]) -> str:
    """Between the marks: the counts, then a row for each model."""
    counts = {status: sum(v.status == status for _, v in results) for status in judge.RANK}
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [
        f"{len(results)} models: {told}. Differences are the largest of all batches, relative to the value or to the",
        "root mean square of its column, rounded up to a power of ten; labels are equal.",
        "",
        "| Model | Family | Trained by | Exported by | Operator sets | Type "
        "| Status | to onnxruntime | to the library | Remark |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record, verdict in results:
        opsets = ", ".join(
            f"{'' if domain == 'ai.onnx' else domain.removeprefix('ai.onnx.') + ' '}{version}"
            for domain, version in sorted(record["opset"].items())
        )
        exporter = record["exporter"] + (f", `{record['flags']}`" if record["flags"] else "")
        gaps = (round_up(verdict.from_onnxruntime), round_up(verdict.from_library))
        if verdict.status != judge.SUPPORTED:
            gaps = ("", "")
        if "onnxruntime_refuses" in record:
            gaps = ("refused there", gaps[1])
        cells = (
            f"`{record['name']}`", record["family"], record["trained_by"], exporter, opsets, record["dtype"],
            verdict.status, *gaps, describe(record, verdict),
        )  # fmt: skip
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return "\n".join(lines)


def write(results: list[tuple[dict, judge.Verdict]]) -> None:
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(f"{before}{BEGIN}\n{render(results)}\n{END}{after}")


def read_statuses() -> dict[str, str]:
    """The committed status of each model."""
    _, rest = DOCS.read_text().split(BEGIN)
    table, _ = rest.split(END)
    statuses = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            cells = [part.strip() for part in line.replace("\\|", "/").split("|")]
            statuses[cells[1].strip("`")] = cells[7]
    return statuses
