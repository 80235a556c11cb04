"""The models of the zoo, each with the code that trains and exports it."""

import importlib

GROUPS = (
    "linear",
    "trees",
    "other",
    "pipelines",
    "boosting",
    "oblivious",
    "nets",
    "sequences",
    "quantised",
    "handmade",
)


def load_groups() -> None:
    """Imports every file that registers models."""
    for name in GROUPS:
        import pathlib
        if not (pathlib.Path(__file__).parent / f"{name}.py").exists(): continue
        importlib.import_module(f"export.{name}")
