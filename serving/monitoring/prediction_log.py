"""The prediction log of a running instance: it writes what the monitor is told of as rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import EventMeta
from serving.config import Log
from serving.config.encoded import decode_config
from serving.errors import InvalidInput
from serving.log.label_rows import LabelRows
from serving.log.late_writer import LateWriter
from serving.log.place import place_of, retention_of
from serving.log.rows import LogRows, ModelLog
from serving.log.store import Store
from serving.log.stored import stored_labels, stored_requests
from serving.log.stream_names import Cut
from serving.log.writer import LogLimits, LogWriter
from serving.monitoring.log_status import LogStatus
from serving.monitoring.logged_labels import logged_labels
from serving.monitoring.logged_rows import UNKNOWN, HowLogged, how_logged, logged_rows
from serving.monitoring.model_monitors import LearnedLabels
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.series import Series

K = TypeVar("K")

FLUSH_S: Final = 10.0
"""What a checkpoint waits for the disk."""
SLACK_S: Final = 300.0
"""Streams are finished by then after their time, and clocks are corrected by less."""
MOST_REMEMBERED: Final = 1024
"""Models that are not served any more and of which it is known how they are logged."""


class PredictionLog:
    """Gives a writer the rows of every event, and labels, each once; never waits for it.

    After a restart events come again that the process before may have logged. They are kept until
    it is known which of them the log has.

    Args:
        log: the section of the configuration.
        data_dir: of the instance.
        clock: seconds since the epoch.
        limits: of the writer.
    """

    def __init__(
        self,
        log: Log,
        data_dir: Path,
        clock: Callable[[], float],
        limits: LogLimits | None = None,
    ) -> None:
        place = place_of(log, data_dir)
        self._store, self._spool = place.store(), place.spool
        self._models: dict[tuple[str, str], HowLogged] = {}
        self._how: dict[str, ModelLog] = {}
        self._limits = limits or LogLimits()
        self._writer = LateWriter(
            lambda names: LogWriter(
                self._store, place.spool, retention_of(log), self._how, self._limits, names
            )
        )
        self._series = SeriesSet()
        self._status = LogStatus(self._series, clock)
        self._lock = threading.Lock()
        self._replayed: list[LogRows | LabelRows] = []
        self._replayed_since: float | None = None
        self._settling: threading.Thread | None = None

    def start(self) -> None:
        """Start the writer."""
        self._writer.start()

    def close(self, timeout_s: float = 5) -> None:
        """Write what waits and stop; what the store does not take is left to the next process."""
        self._settle()
        self._writer.close(timeout_s)

    # -- as what subjects are forgotten in ---------------------------------------------------

    @property
    def place(self) -> tuple[Store, Path]:
        """Store and spool of the log."""
        return self._store, self._spool

    def cut(self, timeout_s: float) -> Cut | None:
        """Finish all streams with what was taken in so far; see `LogWriter.cut`."""
        self._settle()
        return self._writer.cut(timeout_s)

    def trouble(self) -> str | None:
        """Return why rows do not become files now; None where they do."""
        counts = self._writer.counts()
        return counts.store_error or counts.disk_error

    # -- as a consumer ------------------------------------------------------------------

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Take note of how models are logged; those that are gone may still be told of."""
        for served in models:
            key = served.name, served.version
            how = how_logged(decode_config(served.config))
            self._models.pop(key, None)
            self._models[key] = how
            self._how[served.name] = how.log
        while len(self._models) > max(MOST_REMEMBERED, len(models)):
            del self._models[next(iter(self._models))]

    def taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        """Take the rows of an `events` message; see `Consumer`."""
        try:
            rows = logged_rows(meta, tensors, self._models.get((meta.model, meta.version), UNKNOWN))
        except InvalidInput as error:
            self._writer.refuse("unwritable", sum(meta.rows))
            report(
                Event.OBSERVATION_FAILED,
                "a message of predictions cannot be read, and its rows are not logged",
                model=meta.model,
                version=meta.version,
                error=error,
            )
            return
        self._offer_all(rows, now, replayed)

    def labelled(self, labels: Sequence[LearnedLabels], now: float, replayed: bool) -> None:
        """Take labels; see `LabelConsumer`."""
        rows: list[LabelRows] = []
        for learned in labels:
            how = self._how.get(learned.model)
            if how is not None and how.capture != "none":
                rows += logged_labels(learned)
        self._offer_all(rows, now, replayed)

    def _offer_all(self, rows: Sequence[LogRows | LabelRows], now: float, replayed: bool) -> None:
        if replayed:
            with self._lock:
                self._replayed += rows
                self._replayed_since = now if self._replayed_since is None else self._replayed_since
            return
        if self._replayed and self._settling is None:
            # It reads files, for which the loop must not wait.
            self._settling = threading.Thread(target=self._settle, name="log-replay", daemon=True)
            self._settling.start()
        for each in rows:
            self._offer(each)

    def _offer(self, rows: LogRows | LabelRows) -> None:
        if isinstance(rows, LabelRows):
            self._writer.offer_labels(rows)
        else:
            self._writer.offer(rows)

    def flush(self) -> None:
        """Have all that was taken in before on the disk; see `Consumer`."""
        self._settle()
        if not self._writer.flush(FLUSH_S):
            report(
                Event.STATE_NOT_SAVED,
                "the prediction log's disk is slow: rows of the last seconds would be lost if the "
                "monitor were killed",
            )

    def _settle(self) -> None:
        """Offer what was replayed and is not in the log."""
        with self._lock:  # who comes second waits until it is done
            if not self._replayed or self._replayed_since is None:
                return
            replayed, self._replayed = self._replayed, []
            since = self._replayed_since
            rows = [each for each in replayed if isinstance(each, LogRows)]
            wanted = [key for each in rows for key in each.request_keys()]
            known = self._known(stored_requests, rows, wanted, since)
            for each in rows:
                positions = [at for at, key in enumerate(each.request_keys()) if key not in known]
                self._offer_some(each, positions, len(each.requests.rows))
            labels = [each for each in replayed if isinstance(each, LabelRows)]
            told = [key for of in labels for key in of.label_keys()]
            stored = self._known(stored_labels, labels, told, since)
            for of in labels:
                positions = [at for at, key in enumerate(of.label_keys()) if key not in stored]
                self._offer_some(of, positions, of.count)

    def _offer_some(self, rows: LogRows | LabelRows, positions: Sequence[int], count: int) -> None:
        """Offer requests or labels at positions among so many."""
        if len(positions) == count:
            self._offer(rows)
        elif positions:
            self._offer(rows.chosen(positions))

    def _known(
        self,
        stored: Callable[..., set[K]],
        rows: Sequence[LogRows | LabelRows],
        wanted: Sequence[K],
        since: float,
    ) -> set[K]:
        """Return which of the wanted keys of rows the log has."""
        models = {each.model for each in rows}
        begun = since - self._limits.roll.max_age_s - SLACK_S
        if not wanted:
            return set()
        try:
            return stored(self._store, self._spool, models, wanted, begun)
        except (OSError, pa.ArrowException) as error:
            report(
                Event.OBSERVATION_FAILED,
                "the prediction log cannot be read after a restart: rows of the last seconds may "
                "be in it twice",
                error=error,
            )
            return set()

    # -- what it says -------------------------------------------------------------------

    def snapshot(self) -> tuple[Series, ...]:
        """Return its series."""
        self._status.update(self._writer.counts())
        return self._series.snapshot()

    def notes(self) -> tuple[str, ...]:
        """Return what is wrong with it, one sentence each."""
        return self._status.notes(self._writer.counts())
