"""What each feature contributes is what the package shap says, on the rows that the model was trained on."""

import numpy as np
import pytest

import compare
import judge
import rows

FOLDER = judge.HERE / "contributions"
RECORDS = [record for record in judge.read_zoo() if (FOLDER / f"{record['name']}.npz").exists()]
BACKGROUND, EXPLAINED = 600, 64
"""Rows: those of the training, and how many of the asked ones are explained."""
TOLERANCE = 1e-5


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_contributions_are_those_of_shap(record, engine):
    ((name, (kind, dtype)),) = record["rows"].items()
    background = rows.make(kind, rows.TRAINING, BACKGROUND).astype(dtype)
    asked = judge.make_inputs(record)[name][:EXPLAINED]
    found = engine.explain(judge.MODELS / f"{record['name']}.onnx", name, background, asked)
    assert "error" not in found, found["error"]
    with np.load(FOLDER / f"{record['name']}.npz") as archive:
        expected = dict(archive)
    if expected["expectation"].size == 2 and found["expectation"].size == 1:
        # Two classes by one score: that of the second one.
        expected = {key: values[..., 1:] for key, values in expected.items()}
    assert found["contributions"].shape == expected["contributions"].shape
    # A feature that hardly matters is measured by those that do.
    size = np.sqrt(np.mean(expected["contributions"] ** 2))
    assert compare.deviation(found["contributions"], expected["contributions"], size) <= TOLERANCE
    assert compare.deviation(found["expectation"], expected["expectation"], size) <= TOLERANCE


def test_shap_explained_trees_of_every_library_and_linear_models():
    families = {(record["trained_by"].split()[0], record["family"] == "linear") for record in RECORDS}
    assert families >= {
        ("scikit-learn", False), ("XGBoost", False), ("LightGBM", False), ("CatBoost", False), ("scikit-learn", True),
    }  # fmt: skip
