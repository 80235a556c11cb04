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
    "numerics",
    "precisions",
    "large",
)


def load_groups() -> None:
    """Imports every file that registers models."""
    for name in GROUPS:
        importlib.import_module(f"export.{name}")
