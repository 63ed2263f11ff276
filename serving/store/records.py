"""What is kept beside incidents."""

from __future__ import annotations

from typing import Literal

import msgspec

from serving.channel.messages.incidents import Incident, State

Happened = Literal[
    "opened", "escalated", "explained", "reopened", "acknowledged", "resolved", "false_alarm"
]
"""What receivers are told of an incident."""
Kind = Literal["known", "unknown", "waiting", "blind", "away"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a receiver has still to be given.

    Attributes:
        id: unique; a receiver that is told twice sees the same one.
        receiver: its name in the configuration.
        event: what has happened.
        incident: as it was then.
        created_at: seconds since the epoch.
        attempts: how often it was tried.
        next_at: when it is tried next.
    """

    id: str
    receiver: str
    event: Happened
    incident: Incident
    created_at: float
    attempts: int = 0
    next_at: float = 0.0


class WatchState(msgspec.Struct, frozen=True, kw_only=True):
    """Since when the verdict on a cause is known, or not.

    Attributes:
        model: empty where a whole monitor is away.
        cause: which of its verdicts.
        kind: `known`; `unknown`: it was known; `waiting`: not yet; `blind`: what judges cannot run;
            `away`: its process is not there.
        since: seconds since the epoch.
        why: in a few words.
        judged: whether there ever was a verdict.
    """

    model: str
    cause: str
    kind: Kind
    since: float
    why: str = ""
    judged: bool = False


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """When a version was served first."""

    model: str
    version: str
    revision: str
    at: float


class Closed(msgspec.Struct, frozen=True):
    """Of an incident that is over: what its rule is judged by."""

    id: str
    model: str
    monitor: str
    metric: str
    state: State
    closed_at: float


class Kept(msgspec.Struct, frozen=True):
    """All that a start goes on from.

    Attributes:
        active: incidents that are open or acknowledged.
        last: of each model and cause the incident that was closed last.
        closed: incidents that are over, oldest first.
        deliveries: oldest first.
    """

    active: tuple[Incident, ...] = ()
    last: tuple[Incident, ...] = ()
    closed: tuple[Closed, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    states: tuple[WatchState, ...] = ()
    deployments: tuple[Deployment, ...] = ()


class Batch(msgspec.Struct):
    """What has changed since it was saved last, by what tells it apart; None: it is gone."""

    incidents: dict[str, Incident] = {}
    deliveries: dict[str, Delivery | None] = {}
    states: dict[tuple[str, str], WatchState | None] = {}
    deployments: dict[tuple[str, str, str], Deployment] = {}

    def __len__(self) -> int:
        rest = len(self.deliveries) + len(self.states) + len(self.deployments)
        return len(self.incidents) + rest

    def under(self, newer: Batch) -> Batch:
        """Return both, of which `newer` counts where they differ."""
        return Batch(
            {**self.incidents, **newer.incidents},
            {**self.deliveries, **newer.deliveries},
            {**self.states, **newer.states},
            {**self.deployments, **newer.deployments},
        )
