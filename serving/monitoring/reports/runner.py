"""Starts the report process, one at a time, and bounds how long it may take."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from serving.channel.messages.observation import ReportReply
from serving.errors import InvalidInput, ModelFailed, ModelNotReady, Overloaded, Unsupported
from serving.models.profile.files import REFERENCE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.reports.job import QUOTES, REPORT, TIMEOUT_S, ReportJob, write_job
from serving.monitoring.to_the_end import to_the_end
from serving.telemetry.logs.causes import Cause
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

CONTENT_TYPES: Final = {"html": "text/html; charset=utf-8", "json": "application/json"}
MIN_ROWS: Final = 30
"""Fewer recent rows say nothing about a distribution."""


class ReportRunner:
    """Makes reports about models."""

    def __init__(self) -> None:
        self._busy = False

    async def drift(
        self, entry: ModelEntry, columns: Mapping[str, np.ndarray], wanted: str
    ) -> ReportReply:
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
        reference = entry.directory / REFERENCE
        if not reference.is_file():
            raise Unsupported(
                f"model '{entry.name}' has no {REFERENCE} beside its weights, with rows to compare "
                f"with; `vigil profile {entry.name} --data FILE` leaves one"
            )
        rows = len(next(iter(columns.values()))) if columns else 0
        if rows < MIN_ROWS:
            raise ModelNotReady(
                f"model '{entry.name}' has seen {rows} rows lately, a report needs {MIN_ROWS}; "
                f"send more requests first",
                retry_after_s=5,
            )
        if self._busy:
            raise Overloaded("another report is being made; retry later", retry_after_s=5)
        self._busy = True
        try:
            job = ReportJob(
                f"{entry.name} version {entry.version}",
                entry.config.model_dump_json(),
                str(reference),
                tuple(columns),
                wanted,
            )
            return ReportReply(CONTENT_TYPES[wanted], await _run(job, columns))
        except ModelFailed as error:
            report(
                Event.REPORT_FAILED,
                "a drift report could not be made" if error.cause else error.message,
                model=entry.name,
                version=entry.version,
            )
            error.logged = True
            raise
        finally:
            self._busy = False


async def _run(job: ReportJob, columns: Mapping[str, np.ndarray]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vigil-report-") as name:
        folder = Path(name)
        await to_the_end(write_job, folder, job, columns)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serving.monitoring.reports.drift", name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, errors = await process.communicate()
        except TimeoutError:
            raise ModelFailed(f"the drift report took more than {TIMEOUT_S} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            lines = errors.decode("utf-8", "replace").strip().splitlines()
            ended = f"the report process ended with {process.returncode}"
            told = process.returncode in (1, QUOTES) and lines
            failed = ModelFailed(lines[-1] if told else ended)
            if process.returncode == QUOTES:
                failed.cause = Cause("report process")
            raise failed
        return await asyncio.to_thread((folder / REPORT).read_bytes)
