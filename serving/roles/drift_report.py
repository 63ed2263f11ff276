"""Makes one drift report with Evidently, in a process of its own: it costs seconds and hundreds
of megabytes to import.

`python -m serving.roles.drift_report FOLDER` reads `job.json` and `current.npz` there and writes
`report`. The statistics are pinned: left to itself Evidently chooses a test by the size of the
reference. They are effect sizes for people to look at; alarms come from the drift monitor.
"""

from __future__ import annotations

import html
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from serving.config import ModelConfig
from serving.errors import VigilError
from serving.models.columns import input_columns
from serving.models.dataset import read_dataset

TIMEOUT_S: Final = 60
JOB, CURRENT, REPORT = "job.json", "current.npz", "report"

STATISTICS: Final = {
    "num_method": "wasserstein",
    "num_threshold": 0.1,
    "cat_method": "jensenshannon",
    "cat_threshold": 0.1,
}
"""Wasserstein distance in standard deviations of the reference; Jensen-Shannon distance."""

Columns = Mapping[str, np.ndarray]


class ReportJob(msgspec.Struct, frozen=True):
    """What to report on.

    Attributes:
        title: of the report, for example the model's name and version.
        config: `ModelConfig` as JSON.
        reference: path of the reference Parquet file.
        columns: names of the arrays `0`, `1`, ... in `current.npz`.
        format: `html` or `json`.
    """

    title: str
    config: str
    reference: str
    columns: tuple[str, ...]
    format: str


class ReportError(VigilError):
    """There is nothing to compare; the message says why."""


def write_job(folder: Path, job: ReportJob, current: Columns) -> None:
    """Leave a job for the report process; categories become text, so that nothing is pickled."""
    arrays: dict[str, Any] = {
        str(index): _plain(current[name]) for index, name in enumerate(job.columns)
    }
    np.savez(folder / CURRENT, **arrays)
    (folder / JOB).write_bytes(msgspec.json.encode(job))


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "O":
        return values.astype(np.float64)
    return np.array(
        [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()],
        dtype=np.str_,
    )


def comparable(
    reference: Columns, current: Columns
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, str]]:
    """Sort out the columns that Evidently would raise on or has nothing to say about.

    Infinite values count as missing.

    Returns:
        (reference, current) values by name of the columns that can be compared, without their
        missing values turned into anything; and the reason by name of those that cannot.
    """
    kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    left_out: dict[str, str] = {}
    for name, values in reference.items():
        if name not in current:
            left_out[name] = "not among the recent rows"
            continue
        pair = _finite(values), _finite(current[name])
        empty = [
            side
            for side, part in zip(("reference", "recent rows"), pair, strict=True)
            if not _known(part).size
        ]
        distinct = {value for part in pair for value in np.unique(_known(part))[:2].tolist()}
        if empty:
            left_out[name] = f"no values in the {' and the '.join(empty)}"
        elif len(distinct) < 2:
            left_out[name] = "constant"
        else:
            kept[name] = pair
    return kept, left_out


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "U":
        return values
    return np.where(np.isfinite(values), values, np.nan)


def _known(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind == "U" else values[~np.isnan(values)]


def make(folder: Path) -> bytes:
    """Return the report for the job in `folder`.

    Raises:
        VigilError: the reference cannot be read, or no column can be compared.
    """
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=ReportJob)
    config = ModelConfig.model_validate_json(job.config)
    fitted = input_columns(read_dataset(Path(job.reference), config).inputs, config)
    reference = {name: _plain(values) for name, values in fitted.items()}
    with np.load(folder / CURRENT, allow_pickle=False) as arrays:
        current = {name: arrays[str(index)] for index, name in enumerate(job.columns)}
    kept, left_out = comparable(reference, current)
    if not kept:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in list(left_out.items())[:5])
        raise ReportError(f"no column can be compared ({reasons or 'the model has none'})")
    snapshot = _compare(kept)
    rows = [len(next(iter(columns.values()))) for columns in (reference, current)]
    if job.format == "json":
        return msgspec.json.encode(
            {
                "title": job.title,
                "statistics": STATISTICS,
                "reference_rows": rows[0],
                "current_rows": rows[1],
                "left_out": left_out,
                "evidently": msgspec.json.decode(snapshot.json()),
            }
        )
    page: str = snapshot.get_html_str(as_iframe=False)
    head = f"{job.title}: {rows[1]} recent rows against {rows[0]} of the reference."
    return page.replace("<body>", f"<body>{_preface(head, left_out)}", 1).encode()


def _compare(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [name for name, (values, _) in pairs.items() if values.dtype.kind != "U"]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in pairs if name not in numeric],
    )
    reference, current = (
        Dataset.from_pandas(
            pd.DataFrame({name: pair[side] for name, pair in pairs.items()}), definition
        )
        for side in (0, 1)
    )
    return Report([DataDriftPreset(**STATISTICS)], include_tests=False).run(current, reference)


def _preface(head: str, left_out: Mapping[str, str]) -> str:
    how = (
        "Wasserstein distance in reference standard deviations for numbers, Jensen-Shannon "
        "distance for categories, both against 0.1: effect sizes, not alarms."
    )
    lines = [
        head,
        how,
        *(f"Left out: {name} ({reason})." for name, reason in left_out.items()),
    ]
    text = "<br>".join(html.escape(line) for line in lines)
    return f'<p style="font-family: sans-serif; margin: 1em">{text}</p>'


def main(arguments: list[str]) -> int:
    """Make the report; on failure say why in one sentence on standard error."""
    # Whoever started this may die and never come to end it.
    signal.alarm(TIMEOUT_S)
    # The libraries' advice to programmers would bury the one sentence that matters.
    warnings.simplefilter("ignore")
    folder = Path(arguments[0])
    try:
        (folder / REPORT).write_bytes(make(folder))
    except VigilError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - a library's failure must reach people as text
        text = " ".join(str(error).split())[:300]
        sys.stderr.write(f"the drift report failed: {type(error).__name__}: {text}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
