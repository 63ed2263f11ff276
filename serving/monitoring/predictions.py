"""What the monitor tells of logged predictions: it reads the log's files, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    LOGGED_INPUTS,
    PREDICTIONS,
    LoggedInputsMeta,
    LoggedInputsReply,
    PredictionsMeta,
    RecalledMeta,
    RecalledRow,
)
from serving.config.encoded import decode_config
from serving.errors import (
    InvalidInput,
    ModelNotReady,
    NotFound,
    Overloaded,
    Unsupported,
    VersionGone,
)
from serving.log.place import LogPlace
from serving.protocol.messages import Tensor
from serving.telemetry.outcomes import OUTCOME_OK

if TYPE_CHECKING:
    from monitors.performance.forgotten_keys import Key
    from serving.log.reader import LogReader

T = TypeVar("T")

QUESTIONS: Final = frozenset({PREDICTIONS, LOGGED_INPUTS})
"""Kinds of messages that are answered here."""
MOST_WAITING: Final = 16
"""Questions at once, the one that is answered included."""
MOST_RECALLS: Final = 64
"""Pushes of labels at once whose predictions are looked up."""
FLUSH_S: Final = 0.6
"""A row is in the log so long after its answer."""

_decode_predictions = msgspec.msgpack.Decoder(PredictionsMeta).decode
_decode_logged_inputs = msgspec.msgpack.Decoder(LoggedInputsMeta).decode


class LoggedPredictions:
    """Finds rows of the prediction log by their id.

    Args:
        place: where the log is; it may be empty or away. None: nothing is logged.
        flush_s: how long it takes rows to be in the log, for which a question for one that is not
            there yet waits once.
    """

    def __init__(self, place: LogPlace | None, flush_s: float = FLUSH_S) -> None:
        self._place = place
        self._flush_s = flush_s
        self._waiting = self._recalls = 0
        self._worker = ThreadPoolExecutor(1, "log-reader")
        self._reader: LogReader | None = None  # belongs to that thread
        self._configs: dict[tuple[str, str], bytes] = {}

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Take note of what is served."""
        self._configs = {(served.name, served.version): served.config for served in models}

    async def reply(self, message: Message) -> tuple[object, Sequence[Tensor]]:
        """Answer one of `QUESTIONS`; returns meta and tensors.

        Raises:
            Unsupported: nothing is logged.
            VigilError: as for `rows` and `inputs`.
        """
        if message.kind == PREDICTIONS:
            return await self.rows(_decode_predictions(message.meta)), ()
        return await self.inputs(_decode_logged_inputs(message.meta))

    async def look_anew(self) -> None:
        """Forget what was read of files: some were replaced."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._let_go)

    def _let_go(self) -> None:
        self._reader = None

    def close(self) -> None:
        """Let go of the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def rows(self, asked: PredictionsMeta) -> bytes:
        """Return the rows of a request as JSON, `FoundRows` of the log.

        Raises:
            NotFound: there are none.
            Overloaded: too many others ask.
            ModelNotReady: the log cannot be read now.
        """
        return await self._found(asked, _as_json)

    async def inputs(self, asked: LoggedInputsMeta) -> tuple[LoggedInputsReply, Sequence[Tensor]]:
        """Return the inputs of a request's rows, and what answered them.

        Raises:
            NotFound: there are none, or the request was not answered.
            Overloaded, ModelNotReady: as for `rows`.
            NoLongerThere: the inputs were not captured.
            VersionGone: the version that answered is not served any more.
            InvalidInput: there are too many rows.
        """
        return await self._found(
            asked.rows, partial(_inputs, most=asked.most, configs=self._configs)
        )

    async def recall(self, model: str, keys: Sequence[Key]) -> RecalledMeta:
        """Return what the log has of predictions that labels are about.

        Args:
            model: its name.
            keys: the clients' ids of requests, and rows in them; each once.

        Raises:
            Overloaded: too many others wait.
            ModelNotReady: the log cannot be read now.
        """
        place = self._place
        assert place is not None, "nobody looks for labels' predictions where nothing is logged"
        if self._recalls >= MOST_RECALLS:
            raise Overloaded(
                f"{self._recalls} pushes of labels wait for predictions of the log; retry later",
                retry_after_s=1,
            )
        self._recalls += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._recalled, place, model, keys)
        finally:
            self._recalls -= 1

    def _recalled(self, place: LogPlace, model: str, keys: Sequence[Key]) -> RecalledMeta:
        found = self._read(place, lambda reader: reader.find_many(model, keys))
        rows = [
            RecalledRow(*each.key, each.version, each.timestamp, each.predicted, each.known)
            for each in found
        ]
        return RecalledMeta(model, rows)

    async def _found(
        self,
        asked: PredictionsMeta,
        make: Callable[[LogReader, PredictionsMeta, list[Any]], T],
    ) -> T:
        place = self._place
        if place is None:
            raise Unsupported("predictions are not logged here: vigil.yaml says `log: null`")
        if self._waiting >= MOST_WAITING:
            raise Overloaded(
                f"{self._waiting} others wait for predictions of the log; retry later",
                retry_after_s=1,
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            for last in (False, True):
                found = await loop.run_in_executor(self._worker, self._look, place, asked, make)
                if found is not None:
                    return found
                if not last:
                    await asyncio.sleep(self._flush_s)
        finally:
            self._waiting -= 1
        raise NotFound(
            f"the log has no prediction of model '{asked.model[:128]}' with the id "
            f"'{asked.id[:256]}'{_at(asked.index)}: no such request was answered, or it was left "
            "out (`log.sample`), or it is older than what is kept (`log.retention_days`, "
            "`log.max_gib`)"
        )

    def _look(
        self,
        place: LogPlace,
        asked: PredictionsMeta,
        make: Callable[[LogReader, PredictionsMeta, list[Any]], T],
    ) -> T | None:
        """Return what is made of the rows, None without any; runs in the thread."""

        def read(reader: LogReader) -> T | None:
            tables = reader.find_tables(asked.model, asked.id, asked.index)
            return make(reader, asked, tables) if tables else None

        return self._read(place, read)

    def _read(self, place: LogPlace, read: Callable[[LogReader], T]) -> T:
        # Here, because the libraries take long to load, and most monitors are never asked.
        import pyarrow as pa

        from serving.log.reader import LogReader

        try:
            if self._reader is None:
                self._reader = LogReader(place.store(), place.spool)
            return read(self._reader)
        except (OSError, pa.ArrowException) as error:
            raise ModelNotReady(
                f"the prediction log cannot be read now: {' '.join(str(error).split())[:200]}",
                retry_after_s=5,
            ) from None


def _at(index: int | None) -> str:
    return "" if index is None else f" and the index {index}"


def _as_json(reader: LogReader, asked: PredictionsMeta, tables: list[Any]) -> bytes:
    from serving.log.found_rows import found_rows

    labels = reader.labels(asked.model, tables)
    return msgspec.json.encode(found_rows(asked.model, asked.id, tables, labels))


def _inputs(
    _reader: LogReader,
    asked: PredictionsMeta,
    tables: list[Any],
    most: int,
    configs: Mapping[tuple[str, str], bytes],
) -> tuple[LoggedInputsReply, Sequence[Tensor]]:
    from serving.log.logged_request import logged_inputs, one_request

    rows = one_request(tables, asked.id)
    outcomes = set(rows["outcome"].to_pylist()) - {OUTCOME_OK}
    if outcomes:
        raise NotFound(
            f"request '{asked.id[:256]}' of model '{asked.model}' was not answered "
            f"({', '.join(sorted(outcomes))}), so there is no prediction to explain; send inputs"
        )
    version, revision = rows["version"][0].as_py(), rows["revision"][0].as_py() or ""
    encoded = configs.get((asked.model, version))
    if encoded is None:
        raise VersionGone(
            f"version {version} of model '{asked.model}', which made this prediction, is not "
            f"served any more; `vigil replay` can ask it where its files are"
        )
    if rows.num_rows > most:
        raise InvalidInput(
            f"this request has {rows.num_rows} rows, more than {most}; name one with `index`"
        )
    return LoggedInputsReply(version, revision), logged_inputs(rows, decode_config(encoded))
