"""What is served, tried and retired, and why the rest is not. Changes nothing by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from serving.channel.messages.directory import BrokenModel, Inventory, ModelKey, ServedModel
from serving.protocol.repository import IndexEntry

UNLOADED: Final = "unloaded"


class ServedState:
    """Every revision that matters to a running instance.

    Attributes:
        active: what clients are answered with.
        candidates: what is tried.
        retiring: what is replaced and still answers what it had admitted.
        reasons: why versions cannot be served, by name and version; an empty version is the
            whole folder.
        required: models of the start that could not be read and that readiness waits for.
    """

    def __init__(self) -> None:
        self.active: dict[ModelKey, ServedModel] = {}
        self.candidates: dict[ModelKey, ServedModel] = {}
        self.retiring: dict[ModelKey, ServedModel] = {}
        self.reasons: dict[tuple[str, str], str] = {}
        self.required: set[str] = set()

    def begin(self, inventory: Inventory) -> None:
        """Take in what the instance begins with."""
        self.active = {served.key: served for served in inventory.models}
        self.reasons = {(each.name, each.version): each.reason for each in inventory.broken}
        self.required = {each.name for each in inventory.broken if each.required}

    def retire(self, gone: Iterable[ServedModel]) -> None:
        """Answer with these no more."""
        for served in gone:
            del self.active[served.key]
            self.retiring[served.key] = served
            if not any(key[:2] == served.key[:2] for key in self.active):
                self.reasons.setdefault(served.key[:2], UNLOADED)

    def promote(self, fresh: Iterable[ServedModel], failed: Mapping[ModelKey, str]) -> None:
        """Answer with what was tried from now on, but for what failed; that is tried no more."""
        for served in fresh:
            self.candidates.pop(served.key, None)
            if served.key not in failed:
                self.active[served.key] = served
        self.reasons.update({key[:2]: why for key, why in failed.items()})

    def forget_reasons(self, name: str) -> None:
        """A model is looked at anew."""
        self.reasons = {key: why for key, why in self.reasons.items() if key[0] != name}

    # -- what it knows ------------------------------------------------------------------

    def of(self, name: str) -> list[ServedModel]:
        """Return what clients of a model are answered with."""
        return [served for served in self.active.values() if served.name == name]

    @property
    def loaded(self) -> set[str]:
        """Names of the models that are served."""
        return {name for name, _, _ in self.active}

    @property
    def broken(self) -> tuple[BrokenModel, ...]:
        """What was found, or tried, and cannot be served."""
        return tuple(
            BrokenModel(name, version, reason, name in self.required)
            for (name, version), reason in self.reasons.items()
            if reason != UNLOADED
        )

    def replaced(
        self, name: str, wanted: Sequence[ServedModel], failed: Mapping[ModelKey, str]
    ) -> list[ServedModel]:
        """Return what of a model is to go.

        Args:
            name: the model.
            wanted: what its folder holds.
            failed: of these; what a failed one was to replace stays.
        """
        kept = {served.key for served in wanted if served.key not in failed}
        works = {served.version for served in wanted if served.key in kept - self.active.keys()}
        return [
            served
            for served in self.of(name)
            if served.key not in kept and (not failed or served.version in works)
        ]

    def predecessor(self, served: ServedModel) -> ServedModel | None:
        """Return what answers in the place of a revision: its own version, or the newest one."""
        active = self.of(served.name)
        same = (other for other in active if other.version == served.version)
        newest = max(active, key=lambda other: int(other.version), default=None)
        return next(same, newest)

    def index(
        self, folders: Iterable[str], unready: Mapping[tuple[str, str], str]
    ) -> list[IndexEntry]:
        """Return every version that is served or was tried, and every other folder's model.

        Args:
            folders: names of all models in the repository.
            unready: why versions that should answer cannot, by name and version.
        """
        found: dict[tuple[str, str], IndexEntry] = {}
        loaded = self.loaded
        for (name, version), reason in self.reasons.items():
            if version or name not in loaded:
                found[name, version] = IndexEntry(name, version, "UNAVAILABLE", reason)
        for name, version, _ in self.candidates:
            found[name, version] = IndexEntry(name, version, "LOADING", "")
        for name, version, _ in self.active:
            why = unready.get((name, version))
            state = "READY" if why is None else "UNAVAILABLE"
            reason = self.reasons.get((name, version)) or self.reasons.get((name, ""), "")
            found[name, version] = IndexEntry(name, version, state, reason if why is None else why)
        known = {name for name, _ in found}
        for name in folders:
            if name not in known:
                found[name, ""] = IndexEntry(name, "", "UNAVAILABLE", UNLOADED)
        return sorted(found.values(), key=lambda entry: (entry.name, int(entry.version or 0)))
