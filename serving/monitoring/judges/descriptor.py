"""What the monitor role knows about a kind of monitor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from monitors.monitor import Monitor
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry


def _nothing(config: ModelConfig) -> str:
    return ""


class Blind(NamedTuple):
    """Why something is not watched although the configuration wants it.

    Attributes:
        why: the reason, and what to do about it.
        in_part: whether the rest is watched.
        by_default: whether the configuration wants it only because it does not say otherwise:
            then people are told in a note, and nobody is alarmed.
    """

    why: str
    in_part: bool = False
    by_default: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What became of building a monitor.

    Attributes:
        monitor: None when it cannot run; then `blind` says why.
        blind: what it does not watch.
        title: what people call what it judges; empty: as the descriptor says.
    """

    monitor: Monitor | None
    blind: tuple[Blind, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorDescriptor:
    """One kind of monitor.

    Attributes:
        name: of its state, of its notes, and in its findings' `monitor`.
        wanted: whether a model's configuration asks for it.
        build: makes one for a model version; called where it is wanted, and imports what it needs.
        title: what people call what it judges; empty: its name.
        unwanted: told to people where it is not wanted; empty: nothing is.
        part: makes one for a slice of the rows; None: it judges no slices.
        lacks: says why a model has nothing that it could judge, to who asks what is watched; empty:
            nothing is said.
    """

    name: str
    wanted: Callable[[ModelConfig], bool]
    build: Callable[[ModelEntry], Built]
    title: str = ""
    unwanted: str = ""
    part: Callable[[ModelEntry], Built] | None = None
    lacks: Callable[[ModelConfig], str] = _nothing

    @property
    def called(self) -> str:
        """What people call what it judges."""
        return self.title or self.name
