"""Logged rows for people: as JSON, bounded, with a note where something is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa

from serving.log.read_labels import FoundLabel, LabelKey

INPUT: Final = "in_"
OUTPUT: Final = "out_"
SCORE: Final = "score_"
MOST_ROWS: Final = 1000
MOST_CELL_BYTES: Final = 64 << 10
"""A value beyond it, such as an image, is left out."""
MOST_BYTES: Final = 4 << 20
"""Of all values together; one row is shown whatever its size."""


class Latency(msgspec.Struct, frozen=True):
    """Where the time went, in seconds; None where nobody knows."""

    queue_s: float | None
    compute_s: float | None
    guards_s: float | None
    total_s: float | None


class FoundRow(msgspec.Struct, frozen=True):
    """A logged row. Values are those of the log; `inputs`, `outputs` and `scores` are by name.

    `label` is what is known to be true by now, as the log has it: a class index, a number, or
    numbers; null where nobody has told.
    """

    id: str
    row: int
    client_id: str
    index: int
    time: datetime
    model: str
    version: str
    revision: str
    outcome: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    decisions: list[str]
    scores: dict[str, float | None]
    arm: str | None
    propensity: float | None
    latency: Latency
    trace_id: str | None
    principal: str | None
    label: Any = None
    label_time: datetime | None = None


class FoundRows(msgspec.Struct, frozen=True):
    """The rows of a request or batch, oldest first, and what is not shown of them."""

    model: str
    id: str
    rows: list[FoundRow]
    notes: list[str]


def found_rows(
    model: str,
    identity: str,
    tables: Sequence[Any],
    labels: Mapping[LabelKey, FoundLabel] | None = None,
) -> FoundRows:
    """Return rows to show.

    Args:
        model, identity: what was asked for.
        tables: what `LogReader.find_tables` gives.
        labels: what `LogReader.labels` gives for them.
    """
    labels = labels or {}
    total = sum(table.num_rows for table in tables)
    shown: list[FoundRow] = []
    large: set[str] = set()
    uncaptured = False
    size = 0
    for each in _single_rows(tables):
        small, cut = _without_large(each)
        size += small.nbytes
        if shown and (size > MOST_BYTES or len(shown) == MOST_ROWS):
            break
        large.update(cut)
        values = {
            field.name: _shortest(small[field.name][0].as_py(), field.type)
            for field in small.schema
        }
        label = labels.get((values["version"], values["client_id"], values["index"]))
        row = _row(values, cut, label)
        uncaptured |= row.outcome == "ok" and not row.inputs
        shown.append(row)
    shown.sort(key=lambda row: (row.time, row.id, row.row))
    return FoundRows(model, identity, shown, _notes(shown, total, sorted(large), uncaptured))


def _single_rows(tables: Sequence[Any]) -> Iterator[Any]:
    for table in tables:
        for at in range(table.num_rows):
            yield table.slice(at, 1)


def _without_large(row: Any) -> tuple[Any, list[str]]:
    """Return a table of one row without its large values, and their columns."""
    cut = [
        field.name
        for field in row.schema
        if not pa.types.is_primitive(field.type)
        and field.name.startswith((INPUT, OUTPUT))
        and row[field.name].nbytes > MOST_CELL_BYTES
    ]
    return (row.drop_columns(cut) if cut else row), cut


def _shortest(value: Any, kind: Any) -> Any:
    """Return a value whose single-precision numbers have as few digits as tell them apart.

    So answers have them too, and 0.1 does not become 0.10000000149011612.
    """
    if isinstance(value, list):
        return [_shortest(each, kind.value_type) for each in value]
    if value is None or not pa.types.is_float32(kind):
        return value
    return float(str(np.float32(value)))


def _row(values: dict[str, Any], cut: Sequence[str], label: FoundLabel | None) -> FoundRow:
    values |= dict.fromkeys(cut)
    return FoundRow(
        id=str(UUID(bytes=values["id"])),
        row=values["row"],
        client_id=values["client_id"],
        index=values["index"],
        time=values["time"],
        model=values["model"],
        version=values["version"],
        revision=values["revision"] or "",
        outcome=values["outcome"],
        inputs=_named(INPUT, values),
        outputs=_named(OUTPUT, values),
        decisions=values["decisions"] or [],
        scores=_named(SCORE, values),
        arm=values["arm"],
        propensity=values["propensity"],
        latency=Latency(*(values[name] for name in Latency.__struct_fields__)),
        trace_id=values["trace_id"],
        principal=values["principal"],
        label=label and label.value,
        label_time=label and label.time,
    )


def _named(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def _notes(shown: Sequence[FoundRow], total: int, large: list[str], uncaptured: bool) -> list[str]:
    notes = []
    if len(shown) < total:
        notes.append(
            f"{len(shown)} of {total} rows are shown; ask for one with `index`, "
            "or read the log's files with `vigil predictions`"
        )
    if large:
        notes.append(
            f"values of more than {MOST_CELL_BYTES >> 10} KiB are left out and null: "
            f"{', '.join(large)}; read them from the log's files"
        )
    if uncaptured:
        notes.append("inputs and outputs were not captured (`log.capture` is none or features)")
    return notes
