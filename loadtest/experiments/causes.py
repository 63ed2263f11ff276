"""`python -m loadtest.experiments.causes`: is the cause of a planted loss told rightly?

`--write` keeps results/causes.*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from loadtest.experiments.running import Experiment
from monitors.slices.causes import CAUSES, Cause, explain_change

USUAL: Final = 0.08
HARD: Final = 0.35
"""Share of wrong answers where rows are hard."""
NUMBERS: Final = ("x0", "x1", "x2", "x3", "x4")

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        cases: planted causes, as many of each kind; and changes that are none.
        rows: of the reference and of now, each.
    """

    cases: int
    rows: int


QUICK: Final = Size(cases=100, rows=3000)
FULL: Final = Size(cases=500, rows=3000)


@dataclass(frozen=True, slots=True)
class Case:
    """Two stretches of a stream.

    Attributes:
        reference, now: features.
        before, after: whether answers were wrong.
        feature: that carries the cause.
    """

    reference: Columns
    now: Columns
    before: np.ndarray
    after: np.ndarray
    feature: str


def features(rng: np.random.Generator, rows: int) -> Columns:
    """Return five numbers, two of which depend on each other, and two categories."""
    x = rng.normal(size=(rows, 5))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    return {
        **{name: x[:, at] for at, name in enumerate(NUMBERS)},
        "region": rng.choice(["north", "south", "east", "west"], rows),
        "kind": rng.choice(list("abc"), rows, p=[0.6, 0.3, 0.1]),
    }


def case(cause: Cause | None, seed: int, size: Size) -> Case:
    """Plant a cause; None: nothing has changed.

    Rows are hard where one feature is large. A covariate shift makes these more frequent. A concept
    shift makes answers wrong where another feature is small. An unseen region is a category or a
    range of numbers that the reference has not. In every second case another feature, which says
    nothing of the loss, moves as well.
    """
    rng = np.random.default_rng([seed, 0 if cause is None else 1 + CAUSES.index(cause)])
    reference, now = features(rng, size.rows), features(rng, size.rows)
    hard, other, idle = rng.choice(NUMBERS, 3, replace=False).tolist()
    if seed % 2:
        now[idle] = now[idle] + 0.5
    carrier = hard
    rates = [np.where(side[hard] > 0.5, HARD, USUAL) for side in (reference, now)]
    if cause == "covariate shift":
        now[hard] = now[hard] + rng.uniform(0.6, 1.0)
        rates[1] = np.where(now[hard] > 0.5, HARD, USUAL)
    elif cause == "concept shift":
        carrier = other
        at = rng.uniform(-0.8, 0.2)
        rates[1] = np.where(now[other] < at, rates[1] + rng.uniform(0.2, 0.4), rates[1])
    elif cause == "unseen region":
        strange = rng.random(size.rows) < rng.uniform(0.15, 0.3)
        carrier = "region" if rng.random() < 0.5 else other
        if carrier == "region":
            now["region"] = np.where(strange, "overseas", now["region"])
        else:
            now[other] = np.where(strange, rng.normal(6, 1, size.rows), now[other])
        rates[1] = np.where(strange, rng.uniform(0.4, 0.6), rates[1])
    before, after = (rng.random(size.rows) < rate for rate in rates)
    return Case(reference, now, before, after, carrier)


def explained(cause: Cause | None, seed: int, size: Size) -> dict[str, Any]:
    """Return what is told of a case as JSON values."""
    given = case(cause, seed, size)
    found = explain_change(given.reference, given.before, given.now, given.after, seed=seed)
    return {
        "planted": cause,
        "told": found.cause,
        "change": round(found.change.value, 4),
        "parts": {name: round(part.value, 4) for name, part in found.parts.items()},
        "feature": given.feature,
        "first": found.features[0][0] if found.features else None,
    }


def measure(size: Size) -> dict[str, Any]:
    """Simulate everything; returns figures as JSON values."""
    kinds: tuple[Cause | None, ...] = (*CAUSES, None)
    return {
        "size": asdict(size),
        "cases": [explained(cause, seed, size) for cause in kinds for seed in range(size.cases)],
    }


def tables(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    size = found["size"]
    told: tuple[Cause | None, ...] = (*CAUSES, None)
    lines = [
        "# Why did it drop",
        "",
        (
            f"{size['rows']:,} rows of seven features before and as many now; {size['cases']} "
            f"planted causes of each kind. The feature is right if the one that carries the cause "
            f"is named first."
        ),
        "",
        "| Planted | " + " | ".join(str(each or "nothing") for each in told) + " | Feature right |",
        "|---|" + "---|" * (len(told) + 1),
    ]
    for planted in told:
        group = [each for each in found["cases"] if each["planted"] == planted]
        counts = [str(sum(each["told"] == name for each in group)) for name in told]
        right = sum(each["first"] == each["feature"] for each in group)
        last = str(right) if planted else "-"
        lines.append(f"| {planted or 'nothing'} | " + " | ".join(counts) + f" | {last} |")
    real = [each for each in found["cases"] if each["planted"]]
    share = np.mean([each["told"] == each["planted"] for each in real]) if real else np.nan
    lines += ["", f"The cause is right in {share:.1%} of {len(real)} planted cases."]
    return "\n".join(lines) + "\n"


EXPERIMENT: Final = Experiment(
    name="causes",
    about=__doc__,
    measure=lambda full: measure(FULL if full else QUICK),
    tables=tables,
)

if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
