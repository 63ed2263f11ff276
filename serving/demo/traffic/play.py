"""Plays a day of traffic against a running instance, and watches what it says of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from serving.demo.traffic import words
from serving.demo.traffic.comparison import compare
from serving.demo.traffic.instance import Instance
from serving.demo.traffic.record import Record
from serving.demo.traffic.schedule import Day
from serving.demo.traffic.sending import Sender
from serving.demo.traffic.watching import Watcher

STEP_S: Final = 0.05
LOOK_S: Final = 0.5
"""How often incidents are looked at."""
WAIT_S: Final = 60.0
CALM_S: Final = 3.0
"""How long it is looked at least whether something wrong follows."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a player needs of the world, so that tests play a day in no time.

    Attributes:
        clock: seconds, of any beginning.
        sleep: lets some of them pass.
        say: takes a line for whoever watches.
        progress: takes the hour of the played day.
        wait_s: how long after the last labels an incident may take, and what is found out of its
            cause.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = print
    progress: Callable[[float], None] = lambda hour: None
    wait_s: float = WAIT_S


def play(day: Day, instance: Instance, seed: int, around: Surroundings) -> Record:
    """Play a day to its end, and wait for what is to be said of it.

    Raises:
        VigilError: the instance cannot be asked, or an incident is open that would hide one.
    """
    record = Record(day, seed)
    watcher = Watcher(instance, record, around.say)
    watcher.begin(day.planted)
    sender = Sender(day, instance, seed, record)
    told = list(words.announcements(day))
    begun = looked = around.clock()
    while (hour := day.hour(around.clock() - begun)) < day.last_push:
        while told and hour >= told[0][0]:
            around.say(told.pop(0)[1])
        sender.step(hour)
        if around.clock() - looked >= LOOK_S:
            looked = around.clock()
            watcher.look(hour)
        around.progress(hour)
        around.sleep(STEP_S)
    ended = around.clock()
    while (waited := around.clock() - ended) < around.wait_s:
        hour = day.hour(around.clock() - begun)
        sender.step(hour)
        watcher.look(hour)
        if waited >= CALM_S and sender.done and _complete(day, record):
            break
        around.sleep(LOOK_S)
    return record


def _complete(day: Day, record: Record) -> bool:
    """Whether nothing is missing any more that may still come."""
    found = compare(day.planted, record.seen).found
    return all(
        seen is not None and (not planted.explained or seen.incident.evidence.cause is not None)
        for planted, seen in found
    )
