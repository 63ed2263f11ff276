"""The files by which the monitor hands a report to the process that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

TIMEOUT_S: Final = 120
"""Far more than a report takes: importing the libraries alone took 40 s on a very busy machine."""
QUOTES: Final = 2
"""Exit code of the report process where its sentence quotes a library, and perhaps rows."""
NOTHING: Final = 10
"""Exit code where there is nothing to report on now."""
NEVER: Final = 11
"""Exit code where the model, as it is configured, can have no such report."""
JOB: Final = "job.json"
CURRENT: Final = "current.npz"
REPORT: Final = "report"

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


class LoggedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to report on from the prediction log, or from recent rows where there is none.

    Attributes:
        kind: `drift`, `performance`, `fairness` or `quality`.
        format: `html` or `json`.
        name, version, directory: of the model's version.
        config: `ModelConfig` as JSON.
        url, spool: where the log is; empty: there is none.
        since, until: the earliest time and the first that is too late, in seconds since the
            epoch; None: any.
        columns: names of the arrays `0`, `1`, ... in `current.npz`: recent rows, in place of a log.
    """

    kind: str
    format: str
    name: str
    version: str
    directory: str
    config: str
    url: str = ""
    spool: str = ""
    since: float | None = None
    until: float | None = None
    columns: tuple[str, ...] = ()


Job = ReportJob | LoggedJob


def write_job(folder: Path, job: Job, current: Columns) -> None:
    """Leave a job for the report process; categories become text, so that nothing is pickled."""
    arrays: dict[str, Any] = {
        str(index): plain(current[name]) for index, name in enumerate(job.columns)
    }
    np.savez(folder / CURRENT, **arrays)
    (folder / JOB).write_bytes(msgspec.json.encode(job))


def read_job(folder: Path) -> tuple[ReportJob, dict[str, np.ndarray]]:
    """Return the job in `folder` and its columns."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=ReportJob)
    return job, _columns(folder, job)


def read_logged_job(folder: Path) -> tuple[LoggedJob, dict[str, np.ndarray]]:
    """Return the job in `folder` and its columns."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=LoggedJob)
    return job, _columns(folder, job)


def _columns(folder: Path, job: Job) -> dict[str, np.ndarray]:
    with np.load(folder / CURRENT, allow_pickle=False) as arrays:
        return {name: arrays[str(at)] for at, name in enumerate(job.columns)}


def plain(values: np.ndarray) -> np.ndarray:
    """Return numbers as float64 and everything else as text, [n]."""
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind != "O":
        return values.astype(np.float64)
    return np.array(
        [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()],
        dtype=np.str_,
    )
