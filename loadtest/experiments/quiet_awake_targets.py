"""What quiet and awake are held against: each target, what was found, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Figures = Mapping[str, Any]

STATED: Final = {"page": 1.0, "ticket": 3.0, "info": 90 / 7}
"""False alarms per model and 90 days: one page, a ticket a month, an info a week."""
ROWS: Final = {0.5: 1500.0, 0.2: 10_000.0}
"""Rows within which a shift of so many standard deviations is told, where rows are independent."""
TIMES: Final = 2.0
"""Times the rows of an oracle, where they are not."""
MICROSECONDS: Final = 25.0
MOST: Final = 0.9
"""Share of trials that a delay is stated for."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target.

    Attributes:
        of: the stream, or what is known of it.
        what: is held against it.
        found: in words.
        limit: in words.
        met: whether it is.
    """

    of: str
    what: str
    found: str
    limit: str
    met: bool


def targets(found: Figures) -> list[Target]:
    """Return the targets of an experiment's figures, in their order."""
    each: list[Target] = []
    for at, stream in enumerate(found["streams"]):
        each += _quiet(stream)
        each += _awake(stream, independent=at == 0)
    each += [_planted(one) for one in found["planted"]]
    each += [
        Target(
            f"share of {one['bursts']}",
            "infos of 300 statistics in 8 days",
            f"{sum(one['by_day'])}",
            f"{one['stated']:.2f}",
            sum(one["by_day"]) <= np.ceil(one["stated"]),
        )
        for one in found["rare_shares"]
    ]
    took = found["microseconds_a_row"]
    each.append(
        Target(
            "20 columns, batches of 64",
            "processor time of a row, drift",
            f"{took:.1f} µs",
            f"{MICROSECONDS:g} µs",
            took <= MICROSECONDS,
        )
    )
    return each


def _quiet(stream: Figures) -> Iterator[Target]:
    for name, stated in STATED.items():
        one = stream["quiet"][name]
        value = one["per_model_and_quarter"]
        yield Target(
            stream["stream"],
            f"{name}s per model and quarter",
            f"{value:.2f} ({one['low']:.2f}-{one['high']:.2f})",
            f"{stated:.3g}",
            value <= stated,
        )
    first = stream["quiet"]["first_week_info_per_model"]
    yield Target(stream["stream"], "infos per model, first week", f"{first:.2f}", "1", first <= 1)


def _awake(stream: Figures, *, independent: bool) -> Iterator[Target]:
    for one in stream["awake"]["shifts"]:
        shift = one["shift_sd"]
        if independent:
            yield _within(
                stream["stream"], f"shift of {shift} sd, rows of 90 %",
                one["rows_of_90_percent"], ROWS[shift],
            )  # fmt: skip
            continue
        if one["oracle_rows"] is None:
            continue  # nobody could find it within the horizon
        times = one["times_oracle"]
        yield Target(
            stream["stream"],
            f"shift of {shift} sd, times the oracle's rows",
            "not told" if times is None else f"{times:.1f}",
            f"{TIMES:g}",
            times is not None and times <= TIMES,
        )
    if independent:
        for one in stream["awake"]["ramps"]:
            most = one["sd_of_90_percent"]
            yield Target(
                stream["stream"],
                f"ramp of .4 sd in {one['days']} days, told at (90 %)",
                "not told" if most is None else f"{most:.2f} sd",
                "0.4 sd",
                most is not None and most < 0.4,
            )


def _planted(one: Figures) -> Target:
    rows = np.array([np.inf if each is None else each for each in one["rows"]])
    most = float(np.quantile(rows, MOST, method="inverted_cdf"))
    return _within(
        f"rows, history: {one['history']}", f"{one['change']}, rows of 90 %",
        most if np.isfinite(most) else None, one["within"],
    )  # fmt: skip


def _within(of: str, what: str, rows: float | None, limit: float) -> Target:
    told = "not told" if rows is None else f"{rows:,.0f}"
    return Target(of, what, told, f"{limit:,.0f}", rows is not None and rows <= limit)


def table(each: Sequence[Target]) -> str:
    """Return targets as Markdown."""
    lines = ["| of | what | found | target | met |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.of} | {one.what} | {one.found} | {one.limit} | {'yes' if one.met else '**no**'} |"
        for one in each
    ]
    return "\n".join(lines) + "\n"
