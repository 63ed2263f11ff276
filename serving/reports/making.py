"""Makes one report, of whatever kind, from the log or from recent rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.backtest.log_past import LogPast
from serving.config.encoded import decode_config
from serving.errors import ModelNotReady, Unsupported, VigilError
from serving.incidents.sentences import moment
from serving.log.place import LogPlace
from serving.log.reader import LogReader
from serving.models.profile.files import REFERENCE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.performance import known_thresholds
from serving.monitoring.reports.drift import compared
from serving.monitoring.reports.job import Columns, LoggedJob, plain
from serving.monitoring.reports.possible import require
from serving.reports.fairness import fairness
from serving.reports.fairness_page import fairness_page
from serving.reports.fairness_page import headline as of_fairness
from serving.reports.metric_frame import metric_frame
from serving.reports.performance import performance
from serving.reports.performance_page import headline as of_performance
from serving.reports.performance_page import performance_page
from serving.reports.quality import quality
from serving.reports.rows import ReportRows, most_rows, read_rows, recent_rows, with_note
from serving.reports.tables import ALL_LABELS, INDEPENDENT

LEAST_ROWS: Final = 30
"""Fewer rows say nothing about a distribution."""


class NothingToReport(ModelNotReady):
    """There are no rows, or too few, that the report could be about."""


def make(job: LoggedJob, recent: Columns) -> bytes:
    """Return the report.

    Args:
        job: what to report on.
        recent: columns of the rows, where there is no log.

    Raises:
        NothingToReport: there is nothing to measure or to compare.
        Unsupported: the model, as it is configured, can have no such report.
        VigilError: it cannot be made; the message says why.
    """
    entry = ModelEntry(
        job.name, job.version, Path(job.directory), decode_config(job.config.encode())
    )
    require(job.kind, entry)
    rows = _logged(job, entry) if job.url else recent_rows(recent)
    if job.kind in ("drift", "quality"):
        return _of_columns(job, entry, rows)
    if job.kind == "performance":
        return _performance(job, entry, rows)
    return _fairness(job, entry, rows)


def _logged(job: LoggedJob, entry: ModelEntry) -> ReportRows:
    since, until = (
        None if each is None else datetime.fromtimestamp(each, UTC)
        for each in (job.since, job.until)
    )
    place = LogPlace(job.url, Path(job.spool))
    store, most = place.store(), most_rows(entry.config)
    try:
        past = LogPast(
            [entry],
            LogReader(store, place.spool),
            LogReader(store, place.spool, "sensitive"),
            since,
            until,
            most,
            version=entry.version,
        )
    except Unsupported:
        raise
    except VigilError as error:
        raise NothingToReport(error.message) from None
    rows = read_rows(past, entry.config)
    if rows.rows >= most:
        rows = with_note(rows, f"only the newest {most} rows are looked at: there are more")
    return rows


def _title(job: LoggedJob, entry: ModelEntry) -> str:
    return f"{job.kind.capitalize()} of {entry.name} version {entry.version}"


def _about(rows: ReportRows) -> str:
    first, last = float(rows.times.min()), float(rows.times.max())
    return f"{rows.rows} logged rows from {moment(first)} to {moment(last)}"


def _of_columns(job: LoggedJob, entry: ModelEntry, rows: ReportRows) -> bytes:
    if rows.rows < LEAST_ROWS:
        raise NothingToReport(
            f"there are {rows.rows} rows of model '{entry.name}', a report of {job.kind} needs "
            f"{LEAST_ROWS}; send more requests first, or look further back"
        )
    what = "recent rows"
    if job.url:
        first, last = moment(float(rows.times.min())), moment(float(rows.times.max()))
        what = f"logged rows from {first} to {last}"
    makes = compared if job.kind == "drift" else quality
    title = f"{entry.name} version {entry.version}"
    of_labels = ("label", "fairness")
    notes = [each for each in rows.notes if not any(word in each for word in of_labels)]
    columns = {name: plain(values) for name, values in rows.columns.items()}
    return makes(title, what, entry.directory / REFERENCE, entry.config, columns, job.format, notes)


def _performance(job: LoggedJob, entry: ModelEntry, rows: ReportRows) -> bytes:
    if not rows.labelled.any():
        raise NothingToReport(
            f"no label of the {rows.rows} rows of model '{entry.name}' is known: its performance "
            f"is unknown; push labels, see POST /v2/models/{entry.name}/labels"
        )
    limits, blind = known_thresholds(entry) if entry.config.monitors.performance else ({}, ())
    notes = [*rows.notes, *(each.why for each in blind)]
    found = performance(rows, entry.config, limits, entry.version)
    if job.format == "json":
        return _json(job, entry, rows, notes, of_performance(found), found)
    return performance_page(_title(job, entry), f"{_about(rows)}.", notes, found).encode()


def _fairness(job: LoggedJob, entry: ModelEntry, rows: ReportRows) -> bytes:
    known = (each is not None for values in rows.groups.values() for each in values.tolist())
    if not any(known):
        raise NothingToReport(
            f"no group of the {rows.rows} rows of model '{entry.name}' is known: its fairness is "
            "unknown; send sensitive attributes with requests or labels, and have them logged "
            "(`log.sensitive` in vigil.yaml)"
        )
    found, frame = fairness(rows, entry.config), metric_frame(rows, entry.config)
    if job.format == "json":
        more = {"fairlearn": frame}
        return _json(job, entry, rows, rows.notes, of_fairness(found), found, more)
    page = fairness_page(_title(job, entry), f"{_about(rows)}.", rows.notes, found, frame)
    return page.encode()


def _json(
    job: LoggedJob,
    entry: ModelEntry,
    rows: ReportRows,
    notes: Any,
    said: str,
    found: Any,
    more: Any = None,
) -> bytes:
    return msgspec.json.encode(
        {
            "title": _title(job, entry),
            "about": _about(rows),
            "summary": said,
            **(told := msgspec.to_builtins(found)),
            "notes": [*notes, *told.get("notes", ()), INDEPENDENT, ALL_LABELS],
            **(more or {}),
        }
    )
