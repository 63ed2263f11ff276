"""What is measured of the prediction log and of databases, and its tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from loadtest import record
from loadtest.log_rows import DAYS, FEATURES
from loadtest.sql_rows import COMMIT_ROWS

LABELS: Final = 1000
"""Labels of one push."""


@dataclass(frozen=True, slots=True)
class Written:
    """What writing has cost, and what it has left: rows, processor seconds, bytes.

    Attributes:
        offer_us: µs that whoever offers a batch spends; none where there is no such thing.
    """

    name: str
    rows: int
    processor_s: float
    size: int
    offer_us: float | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """ms of a look-up: the first one's, the median's, and the mean of processor time."""

    name: str
    rows: int
    first_ms: float
    median_ms: float
    processor_ms: float


@dataclass(slots=True)
class Results:
    """What was measured, over all stores."""

    written: list[Written] = field(default_factory=list)
    found: list[Looked] = field(default_factory=list)
    joined: list[Looked] = field(default_factory=list)
    deleted: list[Looked] = field(default_factory=list)


def tables_of(results: Results) -> list[record.Table]:
    """Return the tables of a measurement."""
    written = [
        (each.name, f"{each.rows:,}", f"{each.rows / each.processor_s:,.0f}",
         "" if each.offer_us is None else f"{each.offer_us:.1f}", f"{each.size / each.rows:.0f}")
        for each in results.written
    ]  # fmt: skip
    columns = ("", "rows", "first ms", "median ms", "mean processor ms")
    note = (
        f"{len(FEATURES)} features, 2 outputs and 9 to 16 other columns a row, over {DAYS} days. "
        "The log: with rolling to Parquet and the index, which finds own ids, too. The databases: "
        f"one index, on the client's id, {COMMIT_ROWS:,} rows a transaction, no wait for the disk; "
        "PostgreSQL by binary COPY into a partition a day, its server's processor seconds included."
    )
    return [
        record.Table(
            "Written", ("", "rows", "rows per processor second", "µs per offer", "bytes per row"),
            written, note,
        ),
        record.Table("One row found", columns, _cells(results.found)),
        record.Table(
            f"{LABELS:,} labels joined", (*columns, "labels per second"),
            [
                (*cells, f"{LABELS / each.median_ms * 1000:,.0f}")
                for each, cells in zip(results.joined, _cells(results.joined), strict=True)
            ],
        ),
        record.Table("The oldest day deleted", columns, _cells(results.deleted)),
    ]  # fmt: skip


def _cells(looks: Iterable[Looked]) -> list[tuple[str, ...]]:
    return [
        (each.name, f"{each.rows:,}",
         *(f"{value:.1f}" for value in (each.first_ms, each.median_ms, each.processor_ms)))
        for each in looks
    ]  # fmt: skip
