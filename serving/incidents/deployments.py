"""When each version of a model was served first: the last change, and how long it is ago."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from serving.channel.messages.incidents import LastDeployment
from serving.config import Incidents
from serving.store.records import Deployment


class Served(NamedTuple):
    """A version that should answer, and what its `model.yaml` says of incidents."""

    model: str
    version: str
    revision: str
    rules: Incidents


_DEFAULTS = Incidents()


class Deployments:
    """The versions of all models, as they are served now and were first."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str, str], Deployment] = {}
        self._served: dict[str, list[Served]] = {}

    def restore(self, kept: Iterable[Deployment]) -> list[Deployment]:
        """Take in what was served before the start; returns what is served first since then."""
        before = {(each.model, each.version, each.revision): each for each in kept}
        new = [each for key, each in self._at.items() if key not in before]
        self._at |= before
        return new

    def follow(self, served: Iterable[Served], now: float) -> list[Deployment]:
        """Take in what is served now; returns what was never served before."""
        new = []
        self._served = {}
        for each in served:
            self._served.setdefault(each.model, []).append(each)
            key = (each.model, each.version, each.revision)
            if key not in self._at:
                fresh = Deployment(
                    model=each.model, version=each.version, revision=each.revision, at=now
                )
                self._at[key] = fresh
                new.append(fresh)
        return new

    def kept(self) -> dict[tuple[str, str, str], Deployment]:
        """Return all that is known."""
        return dict(self._at)

    @property
    def models(self) -> frozenset[str]:
        """Names of the models that are served."""
        return frozenset(self._served)

    def rules(self, model: str) -> Incidents:
        """Return what the newest configuration of a model says of incidents."""
        served = self._served.get(model)
        return served[-1].rules if served else _DEFAULTS

    def last(self, model: str, before: float) -> LastDeployment | None:
        """Return the last deployment of a model before a time; None where none is known."""
        found = [each for each in self._at.values() if each.model == model and each.at <= before]
        if not found:
            return None
        *earlier, newest = sorted(found, key=lambda each: each.at)
        # What was there at the first start came at once, and none of it replaced another.
        replaced = [each.version for each in earlier if each.at < newest.at]
        return LastDeployment(newest.version, newest.at, replaced[-1] if replaced else "")

    def warms_up(self, model: str, version: str, now: float) -> bool:
        """Whether a version is served for too short a time for its drift to mean much."""
        mine = [each for each in self._served.get(model, ()) if each.version == version]
        return any(
            now - self._at[each.model, each.version, each.revision].at < each.rules.warm_up_s
            for each in mine
        )
