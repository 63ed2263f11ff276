"""An instance that is none, and a time that passes only while somebody sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.causes import Cause
from serving.channel.messages.incidents import Evidence, Incident, Measured
from serving.demo.traffic.play import Surroundings


@pytest.fixture
def make_incident(make_incident: Callable[..., Incident]) -> Callable[..., Incident]:
    """Makes incidents whose cause is known."""
    cause = Cause(summary="concept shift: other truths", known=True)
    evidence = Evidence(leading=Measured(metric="accuracy"), since=0.0, cause=cause)
    return partial(
        make_incident,
        id="k7m2p9qd",
        first=evidence,
        evidence=evidence,
        summary="performance of model 'loans' version 1: accuracy is 0.6, below <0.9>",
    )


class FakeInstance:
    """Approves whoever has an income above 40,000, and has the incidents that tests give it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.asked: list[tuple[float, str, dict[str, Any]]] = []
        self.labels: list[tuple[float, dict[str, Any]]] = []
        self.opens: list[tuple[float, Incident]] = []

    def infer(self, model: str, body: bytes) -> bytes:
        given = json.loads(body)
        self.asked.append((self.now(), model, given))
        rows = given["inputs"][0]["shape"][0]
        approved = np.zeros(rows)
        if model == "loans":
            approved = np.array(given["inputs"][0]["data"]).reshape(rows, -1)[:, 0] > 40_000
        data = np.stack([1.0 - approved, 1.0 * approved], axis=1).ravel().tolist()
        return json.dumps({"outputs": [{"shape": [rows, 2], "data": data}]}).encode()

    def push_labels(self, model: str, body: bytes) -> None:
        assert model == "loans"
        self.labels += [(self.now(), each) for each in json.loads(body)["labels"]]

    def await_judges(self, model: str) -> None:
        assert model == "loans"

    def incidents(self) -> list[Incident]:
        return [each for at, each in self.opens if at <= self.now()]


class Stage:
    """Surroundings of a player, and what they were told."""

    def __init__(self) -> None:
        self.time = 0.0
        self.said: list[str] = []
        self.hours: list[float] = []
        self.instance = FakeInstance(lambda: self.time)
        self.around = Surroundings(
            clock=lambda: self.time,
            sleep=self._sleep,
            say=self.said.append,
            progress=self.hours.append,
        )

    def _sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def stage() -> Stage:
    return Stage()
