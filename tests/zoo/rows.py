"""The rows that the zoo's models are trained and asked on, from a seed alone.

Integer arithmetic and exact sums only: the same bits with every version of numpy, on every machine.
"""

import numpy as np

TRAINING, ASKED = 1, 2
"""Seeds: what models are fitted on, and what they are asked."""

FEATURES = 10
STEPS, CHANNELS = 16, 4
SECTORS = ("energy", "finance", "health", "retail", "technology")
VENUES = ("XETR", "XLON", "XNAS", "XNYS")
IDS = (20, 12, 7)
"""How many different ids each column of `ids` has."""


def hash64(seed: int, count: int) -> np.ndarray:
    """SplitMix64 over a counter (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    with np.errstate(over="ignore"):
        state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """In [0, 1), multiples of 2^-24."""
    count = int(np.prod(shape))
    return ((hash64(seed, count) >> np.uint64(40)).astype(np.float64) / 2**24).reshape(shape)


def bell(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """About normal, mean 0, variance 1: the sum of 12 uniforms less 6, which float64 holds exactly."""
    return uniform(seed, (12, *shape)).sum(axis=0) - 6.0


def integers(seed: int, shape: tuple[int, ...], below: int) -> np.ndarray:
    """In 0 to below - 1."""
    count = int(np.prod(shape))
    return ((hash64(seed, count) >> np.uint64(33)) % np.uint64(below)).astype(np.int64).reshape(shape)


def make(kind: str, seed: int, rows: int) -> np.ndarray:
    """A kind of rows, or `KIND[N]` for one column of it. Another number of rows gives other rows."""
    if kind.endswith("]"):
        whole, column = kind[:-1].split("[")
        return make(whole, seed, rows)[:, int(column) : int(column) + 1]
    own = seed * 1000
    match kind:
        case "plain":
            return bell(own + 1, (rows, FEATURES)).astype(np.float32)
        case "missing":
            values = make("plain", seed, rows)
            values[uniform(own + 2, values.shape) < 0.15] = np.nan
            return values
        case "counts":
            return integers(own + 3, (rows, FEATURES), 8).astype(np.float32)
        case "flags":
            return integers(own + 4, (rows, FEATURES), 2).astype(np.float32)
        case "coded":
            # Two categories as numbers, then plain columns.
            values = make("plain", seed, rows)
            values[:, 0] = integers(own + 5, (rows,), 12)
            values[:, 1] = integers(own + 6, (rows,), 40)
            return values
        case "few":
            return make("plain", seed, rows)[:, :4].copy()
        case "sector":
            return np.array(SECTORS)[integers(own + 7, (rows, 1), len(SECTORS))]
        case "venue":
            return np.array(VENUES)[integers(own + 8, (rows, 1), len(VENUES))]
        case "grade":
            return integers(own + 9, (rows, 1), 6)
        case "ids":
            return np.concatenate([integers(own + 10 + at, (rows, 1), n) for at, n in enumerate(IDS)], axis=1)
        case "lengths":
            return integers(own + 15, (rows,), STEPS) + 1
        case "sequence":
            return bell(own + 20, (rows, STEPS, CHANNELS)).astype(np.float32)
        case "series":
            # A random walk, as prices are; in steps of 1/64, so that its sums are exact.
            steps = integers(own + 21, (rows, 32), 129).astype(np.float64) / 64 - 1
            return steps.cumsum(axis=1).astype(np.float32)
    raise ValueError(f"no rows are called {kind}")


def target(values: np.ndarray, seed: int) -> np.ndarray:
    """What there is to learn: linear, curved and crossed parts and noise, about as much as signal."""
    x = np.nan_to_num(np.asarray(values, dtype=np.float64)).reshape(len(values), -1)
    noise = bell(seed * 1000 + 99, (len(x),))
    return 1.2 * x[:, 0] - x[:, 1] + 0.7 * x[:, 2] * x[:, 3] + 0.4 * x[:, 2] ** 2 + 0.5 * noise


def classes(values: np.ndarray, seed: int, count: int) -> np.ndarray:
    """The target cut into classes of equal size, 0 to count - 1."""
    y = target(values, seed)
    return np.searchsorted(np.quantile(y, np.arange(1, count) / count), y).astype(np.int64)
