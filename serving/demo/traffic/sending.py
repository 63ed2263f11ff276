"""Sends the rows of the played day, and their labels when it is time for them."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from serving.demo import rows
from serving.demo.traffic import requests
from serving.demo.traffic.applicants import LONG_TERM, TERM, Applicants, applicants
from serving.demo.traffic.instance import Instance
from serving.demo.traffic.record import Record, Sent
from serving.demo.traffic.schedule import MODEL, Day
from serving.errors import VigilError

MOST_ROWS: Final = 100
"""Of one request, where the instance is slower than the traffic."""
MOST_REFUSED: Final = 6
"""Pushes of labels in a row that the instance may refuse."""
OTHER_ROWS: Final = 20
OTHERS_PER_HOUR: Final = 5
"""Requests to each of the models in which nothing is planted, in an hour of the day."""


class Sender:
    """Sends what is due.

    Args:
        day: what is played.
        instance: gets it.
        seed: of chance.
        record: where it is noted what was sent.
    """

    def __init__(self, day: Day, instance: Instance, seed: int, record: Record) -> None:
        self._day, self._instance, self._record = day, instance, record
        self._random = np.random.default_rng(seed)
        self._others = (
            ("digits", "image", rows.digits().test.inputs["image"]),
            ("cancer", "x", rows.cancer().test.inputs["x"]),
        )
        # Told apart from those of another day with the same seed, which may be in the log.
        self._ident = f"traffic-{seed}-{time.time_ns() // 1_000_000}"
        self._due = self._number = self._asked_others = 0
        self._unlabelled: deque[tuple[float, list[dict[str, Any]]]] = deque()
        self._due_labels: list[dict[str, Any]] = []
        self._refused = 0
        self._next_push = day.begins + day.push_every_h

    @property
    def done(self) -> bool:
        """Whether everything is sent, and every label is pushed."""
        return not self._unlabelled and not self._due_labels

    def step(self, hour: float) -> None:
        """Send what is due at an hour of the day; hours only grow.

        Raises:
            VigilError: the instance does not take it; of labels, again and again.
        """
        day = self._day
        until = min(hour, day.ends)
        before, self._due = self._due, int(day.rows_until(until) - day.rows_until(day.begins))
        left = self._due - before
        while left > 0:
            some = min(left, MOST_ROWS)
            self._ask(some, until)
            left -= some
        others = int((until - day.begins) * OTHERS_PER_HOUR)
        while self._asked_others < others:
            self._asked_others += 1
            self._ask_others()
        if hour >= self._next_push:
            self._push(hour)
            self._next_push += day.push_every_h

    def _ask(self, n: int, hour: float) -> None:
        planted = self._day.at(hour)
        drawn = applicants(n, hour, planted.change if planted else None, self._random)
        self._number += 1
        ident = f"{self._ident}-{self._number}"
        answer = self._instance.infer(MODEL, requests.of_applicants(drawn, ident))
        try:
            approved = requests.approved(answer)
        except msgspec.MsgspecError:
            raise VigilError(
                f"model '{MODEL}' answers otherwise than the demo's does; is it the demo?"
            ) from None
        self._record.sent.append(_noted(hour, drawn, approved))
        self._unlabelled.append((hour, requests.labels(ident, drawn.y_true)))

    def _ask_others(self) -> None:
        for model, name, known in self._others:
            some = known[self._random.integers(len(known), size=OTHER_ROWS)]
            self._instance.infer(model, requests.inference([requests.numbers(name, some)]))

    def _push(self, hour: float) -> None:
        while self._unlabelled and self._unlabelled[0][0] <= hour - self._day.label_delay_h:
            self._due_labels += self._unlabelled.popleft()[1]
        if not self._due_labels:
            return
        try:
            self._instance.push_labels(MODEL, requests.label_body(self._due_labels))
        except VigilError:
            # An instance that has just started has no monitor yet; labels are late anyway.
            self._refused += 1
            if self._refused == MOST_REFUSED:
                raise
            return
        self._record.pushed.append((hour, len(self._due_labels)))
        self._due_labels, self._refused = [], 0


def _noted(hour: float, drawn: Applicants, approved: np.ndarray) -> Sent:
    men = drawn.sex == "M"
    return Sent(
        hour=hour,
        rows=len(men),
        long_terms=int((drawn.numeric[:, TERM] == LONG_TERM).sum()),
        men=int(men.sum()),
        women=int((~men).sum()),
        men_approved=int(approved[men].sum()),
        women_approved=int(approved[~men].sum()),
        right=int((approved == (drawn.y_true == "approved")).sum()),
    )
