"""A control plane on a Unix socket, roles that connect to it, and a way to wait for effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.channel.messages.directory import Directory, Inventory, Member, ModelKey, ServedModel
from serving.channel.messages.reports import (
    CandidateStanding,
    GatewayStatus,
    Report,
    Standing,
    UnreadyVersion,
)
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.models.repository.folder import ModelRepository

CONFIG = """
format: torch_export
versions: {versions}
inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, {width}]}}]
"""


class Gateway:
    """A gateway that follows every directory at once, unless it is `slow` and has to be told to;
    candidates fare as `verdict` says."""

    def __init__(self, role: Any) -> None:
        self.role = role
        self.verdict: tuple[Standing, str] = ("READY", "")
        self.slow = False
        self.retiring: list[ModelKey] = []
        self.unready: list[UnreadyVersion] = []
        self.disproved: list[ModelKey] = []
        role.client._on_directory = self._follow
        self.directory = Directory()

    def _follow(self, directory: Directory) -> None:
        self.directory = directory
        if not self.slow:
            self.tell()

    def tell(self) -> None:
        candidates = self.directory.candidates
        status = GatewayStatus(
            self.directory.generation,
            tuple(CandidateStanding(*served.key, *self.verdict) for served in candidates),
            tuple(self.retiring),
            tuple(self.unready),
            tuple(self.disproved),
        )
        self.role.report = Report(True, (), status)
        self.role.client.report_now()


class Engine:
    """Writes down which models it is to hold."""

    def __init__(self) -> None:
        self.orders: list[tuple[set[str], set[str]]] = []

    def __call__(self, models: Sequence[ServedModel], tried: Sequence[ServedModel]) -> None:
        self.orders.append(({m.version for m in models}, {m.version for m in tried}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def put(folder: Path) -> Callable[..., None]:
    def put(
        version: str, content: str = "weights", versions: str = "latest", width: int = 2
    ) -> None:
        (folder / "m" / version).mkdir(parents=True, exist_ok=True)
        (folder / "m" / version / "model.pt2").write_text(content)
        (folder / "m" / "model.yaml").write_text(CONFIG.format(versions=versions, width=width))

    return put


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def control(
    registry: Registry, folder: Path, engine: Engine, put: Any
) -> AsyncIterator[ModelControl]:
    put("1")
    control = ModelControl(
        registry, ModelRepository(folder), engine, load_timeout_s=60, drain_timeout_s=60
    )
    control.start(Inventory())
    yield control
    control.stop()


@pytest.fixture
async def gateway(join: Any) -> Gateway:
    return Gateway(join(Member("gateway", "g", 1)))
