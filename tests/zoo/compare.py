"""Says whether answers are the expected ones."""

import numpy as np


def column_sizes(values: np.ndarray) -> np.ndarray:
    """The root mean square of each column's finite values."""
    values = np.float64(values)
    return np.sqrt(np.mean(np.where(np.isfinite(values), values, 0) ** 2, axis=0)) if values.ndim else np.float64(0)


def deviation(found: np.ndarray, expected: np.ndarray, sizes: np.ndarray) -> float:
    """The largest difference, relative to the value or to its column's size, whichever is larger.

    Infinite where one is NaN or infinite and the other is not the same.
    """
    found, expected = np.float64(found), np.float64(expected)
    if not found.size:
        return 0.0
    finite = np.isfinite(expected)
    same = np.where(finite, np.isfinite(found), (found == expected) | (np.isnan(found) & np.isnan(expected)))
    if not same.all():
        return float("inf")
    kept = np.where(finite, expected, 0)
    scale = np.maximum(np.abs(kept), sizes)
    gap = np.abs(np.where(finite, found, 0) - kept)
    return float(np.max(gap / np.where(scale == 0, 1, scale)))


def to_text(values: np.ndarray) -> np.ndarray:
    """Labels in one form: strings, of numbers too."""
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    return values.astype(str)


def differing_labels(found: np.ndarray, expected: np.ndarray) -> int:
    return int(np.sum(to_text(found).ravel() != to_text(expected).ravel()))
