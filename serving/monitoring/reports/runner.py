"""Starts the report process, one at a time, and bounds how long it may take."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import structs

from serving.channel.messages.observation import ReportMeta, ReportReply
from serving.errors import InvalidInput, ModelFailed, ModelNotReady, Overloaded, Unsupported
from serving.log.place import LogPlace
from serving.models.profile.files import REFERENCE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.reports.job import (
    NEVER,
    NOTHING,
    QUOTES,
    REPORT,
    TIMEOUT_S,
    Columns,
    Job,
    LoggedJob,
    ReportJob,
    write_job,
)
from serving.monitoring.reports.possible import KINDS, OF_COLUMNS, no_log, require
from serving.monitoring.to_the_end import to_the_end
from serving.telemetry.logs.causes import Cause
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

CONTENT_TYPES: Final = {"html": "text/html; charset=utf-8", "json": "application/json"}
MIN_ROWS: Final = 30
"""Fewer recent rows say nothing about a distribution."""

_MODULES: Final = {
    ReportJob: "serving.monitoring.reports.drift",
    # Above this room: it reads the log as a backtest does.
    LoggedJob: "serving.reports.process",
}


class ReportRunner:
    """Makes reports about models.

    Args:
        place: of the prediction log; None: nothing is logged.
    """

    def __init__(self, place: LogPlace | None = None) -> None:
        self._place = place
        self._busy = False

    @property
    def logged(self) -> bool:
        """Whether there is a log, of which reports can be made."""
        return self._place is not None

    async def report(
        self, entry: ModelEntry, asked: ReportMeta, recent: Callable[[], Columns]
    ) -> ReportReply:
        """Make a report of any kind: from the log, or from recent rows.

        Reports of drift and quality are of recent rows where nobody asks for a time.

        Args:
            entry: the model version.
            asked: what is wanted.
            recent: returns the columns of the latest rows, and raises where there are none.

        Raises:
            VigilError: it cannot be made now, or at all; the message says why.
        """
        if asked.kind not in KINDS:
            raise Unsupported(f"no report '{asked.kind[:40]}'; there is: {', '.join(KINDS)}")
        if asked.format not in CONTENT_TYPES:
            raise InvalidInput("format must be html or json")
        require(asked.kind, entry)
        job = LoggedJob(
            kind=asked.kind,
            format=asked.format,
            name=entry.name,
            version=entry.version,
            directory=str(entry.directory),
            config=entry.config.model_dump_json(),
            since=asked.since,
            until=asked.until,
        )
        if asked.kind in OF_COLUMNS and asked.since is asked.until is None:
            columns = recent()
            if asked.kind == "drift":
                return await self.drift(entry, columns, asked.format)
            _require_rows(entry, columns)
            return await self._made(entry, structs.replace(job, columns=tuple(columns)), columns)
        if self._place is None:
            raise Unsupported(no_log(asked.kind))
        job = structs.replace(job, url=self._place.url, spool=str(self._place.spool))
        return await self._made(entry, job, {})

    async def drift(self, entry: ModelEntry, columns: Columns, wanted: str) -> ReportReply:
        """Compare recent `columns` with the version's reference rows.

        Args:
            entry: the model version; `reference.parquet` lies in its folder.
            columns: arrays [n] by name.
            wanted: `html` or `json`.

        Raises:
            VigilError: it cannot be made now, or at all; the message says why.
        """
        if wanted not in CONTENT_TYPES:
            raise InvalidInput("format must be html or json")
        require("drift", entry)
        _require_rows(entry, columns)
        job = ReportJob(
            f"{entry.name} version {entry.version}",
            entry.config.model_dump_json(),
            str(entry.directory / REFERENCE),
            tuple(columns),
            wanted,
        )
        return await self._made(entry, job, columns)

    async def _made(self, entry: ModelEntry, job: Job, columns: Columns) -> ReportReply:
        """Make a report; one at a time."""
        if self._busy:
            raise Overloaded("another report is being made; retry later", retry_after_s=5)
        self._busy = True
        try:
            return ReportReply(CONTENT_TYPES[job.format], await _run(job, columns))
        except ModelFailed as error:
            kind = _kind(job)
            report(
                Event.REPORT_FAILED,
                f"a {kind} report could not be made" if error.cause else error.message,
                model=entry.name,
                version=entry.version,
            )
            error.logged = True
            raise
        finally:
            self._busy = False


def _require_rows(entry: ModelEntry, columns: Columns) -> None:
    rows = len(next(iter(columns.values()))) if columns else 0
    if rows < MIN_ROWS:
        raise ModelNotReady(
            f"model '{entry.name}' has seen {rows} rows lately, a report needs {MIN_ROWS}; "
            f"send more requests first",
            retry_after_s=5,
        )


def _kind(job: Job) -> str:
    return job.kind if isinstance(job, LoggedJob) else "drift"


async def _run(job: Job, columns: Columns) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vigil-report-") as name:
        folder = Path(name)
        await to_the_end(write_job, folder, job, columns)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULES[type(job)], name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, errors = await process.communicate()
        except TimeoutError:
            raise ModelFailed(f"the {_kind(job)} report took more than {TIMEOUT_S} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            lines = errors.decode("utf-8", "replace").strip().splitlines()
            if lines and process.returncode == NOTHING:
                raise ModelNotReady(lines[-1], retry_after_s=60)
            if lines and process.returncode == NEVER:
                raise Unsupported(lines[-1])
            ended = f"the report process ended with {process.returncode}"
            told = process.returncode in (1, QUOTES) and lines
            failed = ModelFailed(lines[-1] if told else ended)
            if process.returncode == QUOTES:
                failed.cause = Cause("report process")
            raise failed
        return await asyncio.to_thread((folder / REPORT).read_bytes)
