"""`python -m loadtest.experiments.fairness_delay`: after how many rows is a gap of groups found?

And how often is it told where there is none? A test of fixed size that knows when the gap began is
the measure. `--write` keeps results/fairness-delay.*.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.special import ndtri

from loadtest.experiments.running import Experiment
from monitors.fairness.counting import ClassCounting
from monitors.fairness.group_fairness import GroupFairnessMonitor, Tolerances
from monitors.rows import Rows

WINDOW: Final = 500
SECONDS: Final = 600.0
"""From a window to the next."""
SELECTED: Final = 0.5
GAP: Final = 0.15
TOLERATED: Final = 0.10
LONGEST: Final = 300
"""Windows after which a gap counts as never found."""
POWER: Final = 0.9
LEVELS: Final = (1e-3, 1e-4)
"""One-sided levels of tests of fixed size; ours spends three false tickets a quarter on looks."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        seeds: gaps of each kind.
        quarters: quiet stretches of each kind.
        windows: of such a stretch.
    """

    seeds: int
    quarters: int
    windows: int


QUICK: Final = Size(seeds=16, quarters=6, windows=720)
FULL: Final = Size(seeds=200, quarters=60, windows=12_960)
SHARES: Final = (0.5, 0.05)
"""Of the smaller group."""
CALM: Final = (0, 50, 300)
"""Windows before a gap."""
QUIET: Final = (0.0, 0.05, TOLERATED)
"""Gaps that are tolerated."""


def breaches(share: float, gaps: Sequence[float], rng: np.random.Generator) -> Iterator[bool]:
    """Yield whether there is a breach, window by window.

    Args:
        share: of the rows that are of the smaller group.
        gaps: what it is selected less often, by window.
        rng: of the rows.
    """
    monitor = GroupFairnessMonitor(
        ["group"],
        ClassCounting("y", 1),
        Tolerances(by_metric={"demographic_parity_difference": TOLERATED}),
        WINDOW,
    )
    names = np.array(["large", "small"], dtype=object)
    for at, gap in enumerate(gaps):
        small = rng.random(WINDOW) < share
        selected = rng.random(WINDOW) < np.where(small, SELECTED - gap, SELECTED)
        rows = Rows(
            n=WINDOW,
            timestamp=at * SECONDS,
            groups={"group": names[small.astype(np.int64)]},
            predicted=selected.astype(np.int64),
        )
        difference, _ = monitor.update(rows, at * SECONDS)
        yield bool(difference.breached)


def delay(share: float, calm: int, seed: int) -> float | None:
    """Return after how many rows of a gap it was told; None: not at all."""
    rng = np.random.default_rng([seed, calm, int(100 * share)])
    gaps = [0.0] * calm + [GAP] * LONGEST
    for at, breached in enumerate(breaches(share, gaps, rng)):
        if breached and at >= calm:
            return float((at - calm + 1) * WINDOW)
    return None


def alarms(share: float, gap: float, size: Size, seed: int) -> int:
    """Return how often a breach began while a gap was tolerated."""
    rng = np.random.default_rng([seed, 11, int(100 * gap), int(100 * share)])
    told = [False, *breaches(share, [gap] * size.windows, rng)]
    return sum(now and not before for before, now in itertools.pairwise(told))


def fixed(share: float, level: float) -> float:
    """Return the rows that a one-sided z-test of fixed size needs to find the gap with `POWER`."""
    rates = np.array([SELECTED, SELECTED - GAP])
    variance = (rates * (1 - rates) / np.array([1 - share, share])).sum()
    return float((ndtri(1 - level) + ndtri(POWER)) ** 2 * variance / (GAP - TOLERATED) ** 2)


def measure(size: Size) -> dict[str, Any]:
    """Simulate everything; returns figures as JSON values."""
    delays = [
        {"share": share, "calm": calm, "rows": [delay(share, calm, s) for s in range(size.seeds)]}
        for share in SHARES
        for calm in CALM
    ]
    quiet = [
        {
            "share": share,
            "gap": gap,
            "alarms": [alarms(share, gap, size, seed) for seed in range(size.quarters)],
        }
        for share in SHARES
        for gap in QUIET
    ]
    return {"size": asdict(size), "delays": delays, "quiet": quiet}


def tables(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    size = found["size"]
    days = size["windows"] * SECONDS / 86400
    lines = [
        "# Delay and false alarms of fairness",
        "",
        (
            f"Two groups, {SELECTED:g} of the rows selected, a gap of {GAP:g} begins where "
            f"{TOLERATED:g} is tolerated; windows of {WINDOW} rows ({size['seeds']} gaps each). "
            f"The ratios are of the {POWER:.0%} quantile to the rows that a test of fixed size and "
            f"that power needs, which looks once and knows when the gap began."
        ),
        "",
        "| Smaller group | Calm windows before | Median rows | 90 % within | "
        + " | ".join(f"Ratio at level {level:g}" for level in LEVELS)
        + " |",
        "|---|---|---|---|" + "---|" * len(LEVELS),
    ]
    for each in found["delays"]:
        values = [np.inf if value is None else value for value in each["rows"]]
        median, most = (np.quantile(values, at, method="higher") for at in (0.5, POWER))
        ratios = [f"{most / fixed(each['share'], level):.2f}" for level in LEVELS]
        lines.append(
            f"| {each['share']:.0%} | {each['calm']} | {median:,.0f} | {most:,.0f} | "
            + " | ".join(ratios)
            + " |"
        )
    lines += [
        "",
        f"| Smaller group | True gap | Stretches of {days:g} days | False alarms in all |",
    ]
    lines += ["|---|---|---|---|"]
    for each in found["quiet"]:
        lines.append(
            f"| {each['share']:.0%} | {each['gap']:g} | {len(each['alarms'])} | "
            f"{sum(each['alarms'])} |"
        )
    return "\n".join(lines) + "\n"


EXPERIMENT: Final = Experiment(
    name="fairness_delay",
    about=__doc__,
    measure=lambda full: measure(FULL if full else QUICK),
    tables=tables,
)

if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
