"""`python -m loadtest.experiments.slices`: is a planted slice found first, and none where none is?

`--write` keeps results/slices.*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from loadtest.experiments.running import Experiment
from monitors.slices.worst_slices import worst_slices

ROWS: Final = 20_000
USUAL: Final = 0.1
"""Share of wrong answers outside of the planted slice."""
PLANTED: Final = (0.4, 0.3, 0.2)
"""Shares of wrong answers in it: a strong slice, which should come first, and weaker ones."""
SHARES: Final = (0.025, 0.2)
"""Of the rows, that a planted slice has."""
RIGHT: Final = 0.5
"""Share of the rows in either slice that are in both, from which on the search takes two for one:
so for the planted one and what was found.
"""
DEPTHS: Final = (1, 2, 3)

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        seeds: planted slices, and streams without one.
        rows: of each.
    """

    seeds: int
    rows: int


QUICK: Final = Size(seeds=100, rows=ROWS)
FULL: Final = Size(seeds=1000, rows=ROWS)


def features(rng: np.random.Generator, rows: int) -> Columns:
    """Return ten columns of every kind; two depend on each other."""
    age = rng.integers(18, 80, rows)
    return {
        "age": age,
        "seniority": np.maximum(age - 18 - rng.integers(0, 30, rows), 0),
        "income": rng.lognormal(10, 1, rows),
        "balance": rng.normal(size=rows),
        "score": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "rate": rng.exponential(size=rows),
        "region": rng.choice(["north", "south", "east", "west"], rows),
        "job": rng.choice(list("abcdefgh"), rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02]),
        "channel": rng.choice(["web", "app", "branch"], rows, p=[0.5, 0.4, 0.1]),
        "returning": rng.random(rows) < 0.3,
    }


def plant(
    columns: Columns, depth: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the columns of a slice with that many conditions, and which rows are in it.

    Thresholds of numbers lie anywhere, not at edges of bins.
    """
    rows = len(columns["age"])
    while True:
        names = sorted(rng.choice(sorted(columns), depth, replace=False).tolist())
        inside = np.ones(rows, np.bool_)
        for name in names:
            inside &= _condition(columns[name], rng)
        if SHARES[0] <= inside.mean() <= SHARES[1]:
            return tuple(names), inside


def _condition(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if values.dtype.kind not in "if":
        found: np.ndarray = values == rng.choice(np.unique(values))
        return found
    if np.isnan(values.astype(np.float64)).any() and rng.random() < 0.3:
        return np.isnan(values)
    at = np.nanquantile(values, rng.uniform(0.1, 0.6))
    upwards: np.ndarray = values <= at
    if rng.random() < 0.5:
        upwards = values > np.nanquantile(values, rng.uniform(0.4, 0.9))
    return upwards


def planted(depth: int, seed: int, size: Size, wrong: float = PLANTED[0]) -> dict[str, Any]:
    """Search a planted slice; returns what was found as JSON values."""
    rng = np.random.default_rng([seed, depth])
    columns = features(rng, size.rows)
    names, inside = plant(columns, depth, rng)
    errors = rng.random(size.rows) < np.where(inside, wrong, USUAL)
    found = worst_slices(columns, errors, seed=seed).slices
    best = found[0] if found else None
    alike = 0.0 if best is None else float((best.rows & inside).sum() / (best.rows | inside).sum())
    return {
        "wrong": wrong,
        "depth": depth,
        "columns": list(names),
        "share": round(float(inside.mean()), 4),
        "first": "" if best is None else best.words,
        "alike": round(alike, 3),
        "confirmed": bool(best and best.confirmed),
        "same_columns": bool(best and set(best.columns) == set(names)),
        "right": bool(best and best.confirmed and alike >= RIGHT),
        "covered": bool(best and best.low <= errors[best.rows].mean() <= best.high),
    }


def calm(seed: int, size: Size) -> int:
    """Return how many slices are confirmed where no slice is worse than another."""
    rng = np.random.default_rng([seed, 17])
    errors = rng.random(size.rows) < USUAL
    found = worst_slices(features(rng, size.rows), errors, seed=seed).slices
    return sum(each.confirmed for each in found)


def measure(size: Size) -> dict[str, Any]:
    """Simulate everything; returns figures as JSON values."""
    return {
        "size": asdict(size),
        "planted": [
            planted(DEPTHS[seed % len(DEPTHS)], seed, size, wrong)
            for wrong in PLANTED
            for seed in range(size.seeds)
        ],
        "calm": [calm(seed, size) for seed in range(size.seeds)],
    }


def tables(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    size = found["size"]
    lines = [
        "# The worst slice",
        "",
        (
            f"{size['rows']:,} rows of ten columns, half of them to search and half to confirm. "
            f"{USUAL:.0%} of the answers are wrong, and more in a planted slice of "
            f"{SHARES[0]:.1%} to {SHARES[1]:.0%} of the rows. It is found if the first slice is "
            f"confirmed and shares {RIGHT:.0%} of the rows that are in either of the two."
        ),
        "",
        (
            "| Wrong in it | Conditions | Planted | Found first | With the same columns | "
            "Median of rows shared |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for wrong in PLANTED:
        strong = [each for each in found["planted"] if each["wrong"] == wrong]
        kinds = [(str(d), [e for e in strong if e["depth"] == d]) for d in DEPTHS]
        for name, group in [*kinds, ("all", strong)]:
            if group:
                lines.append(f"| {wrong:.0%} | {name} | " + " | ".join(_counts(group)) + " |")
    told = sum(count > 0 for count in found["calm"])
    lines += [
        "",
        (
            f"Where nothing is planted, {told} of {len(found['calm'])} searches confirm a slice "
            f"(at most 5 % are stated)."
        ),
    ]
    return "\n".join(lines) + "\n"


def _counts(group: Sequence[Mapping[str, Any]]) -> list[str]:
    right = sum(each["right"] for each in group)
    same = sum(each["right"] and each["same_columns"] for each in group)
    alike = float(np.median([each["alike"] for each in group]))
    return [str(len(group)), str(right), str(same), f"{alike:.2f}"]


EXPERIMENT: Final = Experiment(
    name="slices",
    about=__doc__,
    measure=lambda full: measure(FULL if full else QUICK),
    tables=tables,
)

if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
