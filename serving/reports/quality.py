"""A summary of the data, column by column, by Evidently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serving.config import ModelConfig
from serving.models.profile.columns import input_columns
from serving.models.profile.dataset import read_dataset
from serving.monitoring.reports.drift import MAX_COLUMNS, ReportError, harmless, preface, thinned
from serving.monitoring.reports.job import Columns, plain


def quality(
    title: str,
    what: str,
    file: Path,
    config: ModelConfig,
    recent: Columns,
    wanted: str,
    notes: Sequence[str] = (),
) -> bytes:
    """Return the report; the reference stands beside the rows, where there is one.

    Args:
        title: of the report.
        what: the rows are called.
        file: the reference; it need not exist.
        config: of the model.
        recent: columns of the rows.
        wanted: `html` or `json`.
        notes: on the rows, one sentence each.

    Raises:
        VigilError: the reference cannot be read, or no column has a value.
    """
    current = {name: _finite(thinned(plain(values))) for name, values in recent.items()}
    reference: dict[str, np.ndarray] = {}
    if file.is_file():
        fitted = input_columns(read_dataset(file, config).inputs, config)
        reference = {name: _finite(thinned(plain(values))) for name, values in fitted.items()}
    kept, left_out = _shown(current, reference)
    if not kept:
        raise ReportError(f"no column of the {what} has a value: there is nothing to summarise")
    beside = {name: reference[name] for name in kept} if reference else None
    snapshot = _summary({name: current[name] for name in kept}, beside)
    rows = len(current[kept[0]])
    if wanted == "json":
        return msgspec.json.encode(
            {
                "title": title,
                "rows": rows,
                "notes": list(notes),
                "left_out": left_out,
                "evidently": msgspec.json.decode(snapshot.json()),
            }
        )
    page = harmless(snapshot.get_html_str(as_iframe=False))
    with_whom = "beside the reference" if beside else "without a reference to compare with"
    said = preface(
        [
            f"{title}: a summary of {rows} {what}, {with_whom}.",
            "Infinite values count as missing. A summary has no verdict: see the findings.",
            *notes,
        ],
        left_out,
    )
    return page.replace("<body>", f"<body>{said}", 1).encode()


def _shown(current: Columns, reference: Columns) -> tuple[list[str], Mapping[str, str]]:
    """Return the columns that Evidently can summarise, and why others are left out."""
    kept: list[str] = []
    left_out: dict[str, str] = {}
    for name, values in current.items():
        if not _has_values(values):
            left_out[name] = "no row has a value"
        elif reference and name not in reference:
            left_out[name] = "not in the reference"
        elif reference and not _has_values(reference[name]):
            left_out[name] = "no row of the reference has a value"
        elif len(kept) == MAX_COLUMNS:
            left_out[name] = f"beyond the first {MAX_COLUMNS} columns"
        else:
            kept.append(name)
    return kept, left_out


def _has_values(values: np.ndarray) -> bool:
    return bool(len(values)) and (values.dtype.kind == "U" or bool(np.isfinite(values).any()))


def _finite(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind == "U" else np.where(np.isfinite(values), values, np.nan)


def _summary(current: Columns, reference: Columns | None) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataSummaryPreset

    numeric = [name for name, values in current.items() if values.dtype.kind != "U"]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in current if name not in numeric],
    )
    now, before = (
        None if some is None else Dataset.from_pandas(pd.DataFrame(dict(some)), definition)
        for some in (current, reference)
    )
    return Report([DataSummaryPreset()], include_tests=False).run(now, before)
