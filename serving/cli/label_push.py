"""Pushing labels in batches: what is tried again, what is not, and how far it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from serving.cli.client import Client, Refused, Unreachable
from serving.cli.label_files.rows import Row, WrongFile
from serving.errors import VigilError

BATCH: Final = 1000
PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Before each further try. A label that arrives twice is one, so every try may repeat all."""

_LATER: Final = (429, 502, 503, 504)
_UNANSWERED: Final = (502, 504)
"""The request may have been taken in all the same."""
_OF_ONE_LABEL: Final = (400, 413, 422)

Labelled = tuple[Row, dict[str, Any]]


class Counts(msgspec.Struct, frozen=True):
    """What became of labels, as the instance answers.

    All four are required, unlike in `LabelCounts`: a 200 of something else is no count of zeros.
    """

    accepted: int
    duplicate: int
    unknown: int
    late: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.unknown + other.unknown,
            self.late + other.late,
        )


NONE: Final = Counts(0, 0, 0, 0)


class RefusedRow(VigilError):
    """The instance takes every row before this one, and refuses this one."""


@dataclass(slots=True)
class LabelPush:
    """Pushes the labels of one file to one model.

    Attributes:
        sleep: waits for some seconds.
        last: number of the last row that the instance has taken in, with all before it.
        rows: how many it has taken in.
        counts: what became of them.
        sent_again: how many were sent again because an answer was lost. Those that had arrived
            the first time are counted as duplicates.
    """

    client: Client
    model: str
    last: int = 0
    rows: int = 0
    counts: Counts = NONE
    sent_again: int = 0
    sleep: Callable[[float], None] = time.sleep

    def push(self, labels: Iterable[Labelled], pushed: Callable[[], None]) -> None:
        """Push all labels; `pushed` is called after every batch.

        Raises:
            WrongFile: a row is wrong; those before it are pushed.
            RefusedRow: the instance refuses a row; those before it are pushed.
            VigilError: the instance refuses all labels, or cannot be reached.
        """
        batch: list[Labelled] = []
        try:
            for label in labels:
                batch.append(label)
                if len(batch) == BATCH:
                    full, batch = batch, []
                    self._push(full)
                    pushed()
        except WrongFile:
            self._push(batch)
            raise
        self._push(batch)
        pushed()

    def _push(self, batch: Sequence[Labelled]) -> None:
        """Push a batch, in halves if it is refused: so the first row that is refused is found."""
        if not batch:
            return
        try:
            counts = self._ask(batch)
        except Refused as refusal:
            if refusal.status not in _OF_ONE_LABEL:
                raise
            if len(batch) == 1:
                raise RefusedRow(f"{batch[0][0].place}: {refusal.message}") from None
            half = len(batch) // 2
            self._push(batch[:half])
            self._push(batch[half:])
            return
        self.counts += counts
        self.rows += len(batch)
        self.last = batch[-1][0].number

    def _ask(self, batch: Sequence[Labelled]) -> Counts:
        body = msgspec.json.encode({"labels": [label for _, label in batch]})
        headers = {"Content-Type": "application/json"}
        lost = False
        for pause in (*PAUSES_S, None):
            try:
                answer = self.client.post(
                    "v2", "models", self.model, "labels", body=body, headers=headers
                )
                counts = answer.read(Counts)
                self.sent_again += len(batch) if lost else 0
                return counts
            except (Refused, Unreachable) as error:
                passing = not isinstance(error, Refused) or error.status in _LATER
                if not passing:
                    raise
                lost |= not isinstance(error, Refused) or error.status in _UNANSWERED
                if pause is None:
                    raise VigilError(f"{error.message} (tried {len(PAUSES_S) + 1} times)") from None
                self.sleep(pause)
        raise AssertionError("the last try returns or raises")
