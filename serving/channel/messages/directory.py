"""The directory: what is served and who is there."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from serving.channel.messages.settings import Settings

RoleName = Literal["gateway", "replica", "explainer", "monitor"]
ModelKey = tuple[str, str, str]
"""Name, version and revision of a served model."""
LEAVING: Final = "the server is about to stop"
"""Why an instance that leaves is not ready."""


class Member(msgspec.Struct, frozen=True):
    """One role process.

    Attributes:
        role: what it is.
        id: unique name, for example `replica-digits-1-0`.
        pid: its process, for operators.
        address: where its channel server listens; empty when it has none.
        model, version: what it serves; empty for gateways and monitors.
        slots: batches it takes at once.
        capabilities: names of the model's capabilities.
        revision: which state of the version's files it has loaded.
    """

    role: RoleName
    id: str
    pid: int
    address: str = ""
    model: str = ""
    version: str = ""
    slots: int = 0
    capabilities: tuple[str, ...] = ()
    revision: str = ""

    @property
    def key(self) -> ModelKey:
        """Name, version and revision of what it serves."""
        return self.model, self.version, self.revision


class ServedModel(msgspec.Struct, frozen=True):
    """A model version that should be served.

    Attributes:
        name, version: what clients ask for.
        config: `ModelConfig` as JSON.
        directory: the version's folder.
        example: an OIP JSON request; None without one.
        revision: digest of all this and of the files' sizes and times; replicas of one revision
            are never mistaken for those of another.
    """

    name: str
    version: str
    config: bytes
    directory: str
    example: bytes | None = None
    revision: str = ""

    @property
    def key(self) -> ModelKey:
        """Name, version and revision."""
        return self.name, self.version, self.revision


class BrokenModel(msgspec.Struct, frozen=True):
    """A model, or one version of it, that lies in the repository and cannot be served.

    Attributes:
        name, version: the version is empty where the whole folder is meant.
        reason: one sentence.
        required: whether readiness waits for the model.
    """

    name: str
    version: str
    reason: str
    required: bool = False

    @property
    def sentence(self) -> str:
        """What is wrong, with the name."""
        version = f" version {self.version}" if self.version else ""
        return f"model '{self.name}'{version}: {self.reason}"


class Inventory(msgspec.Struct, frozen=True):
    """What an instance begins with.

    Attributes:
        models: what answers clients.
        broken: what cannot be served.
    """

    models: tuple[ServedModel, ...] = ()
    broken: tuple[BrokenModel, ...] = ()


class Directory(msgspec.Struct, frozen=True):
    """Everything that is served and everybody who is there.

    Attributes:
        generation: grows with every change.
        models: what answers clients.
        members: who is there.
        candidates: what is to answer clients once every gateway has proven it.
        settings: how gateways log and trace.
        broken: what lies in the repository and cannot be served.
        leaving: whether the instance is about to stop, and so not ready; it still answers.
        tells_ends: whether the control plane tells gateways how the process of a replica ended.
        monitors: how many monitors the models are divided among; see `monitor_shares`.
    """

    generation: int = 0
    models: tuple[ServedModel, ...] = ()
    members: tuple[Member, ...] = ()
    candidates: tuple[ServedModel, ...] = ()
    settings: Settings = Settings()
    broken: tuple[BrokenModel, ...] = ()
    leaving: bool = False
    tells_ends: bool = False
    monitors: int = 1

    @property
    def missing(self) -> list[str]:
        """One sentence for each required model of which nothing can be served."""
        served = {model.name for model in self.models}
        return [
            broken.sentence
            for broken in self.broken
            if broken.required and broken.name not in served
        ]

    def of_role(self, role: RoleName) -> list[Member]:
        """Return the members with that role."""
        return [member for member in self.members if member.role == role]
