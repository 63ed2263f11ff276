"""The models' folder is followed: once changes stand still, and never because it vanished."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from serving.control.model_poll import ModelPoll
from serving.errors import LoadFailed
from serving.models.repository.folder import ModelRepository

Wait = Callable[[Callable[[], object]], Awaitable[None]]


class Orders:
    """Takes orders and writes them down; loading `broken` fails, and `odd` as nothing should."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.loaded = {"here"}

    async def load(self, name: str) -> None:
        self.given.append(f"load {name}")
        if name == "broken":
            raise LoadFailed("failed to load 'broken'")
        if name == "odd":
            raise RuntimeError("nobody has thought of this")
        self.loaded.add(name)

    async def unload(self, name: str) -> None:
        self.given.append(f"unload {name}")
        self.loaded.discard(name)


@pytest.fixture
def orders() -> Orders:
    return Orders()


class Repository(ModelRepository):
    """Counts how often it was looked at."""

    looks = 0

    def names(self) -> list[str]:
        try:
            return super().names()
        finally:
            self.looks += 1


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@pytest.fixture
async def folder(repository: Repository, orders: Orders, eventually: Wait) -> AsyncIterator[Path]:
    root = repository.root
    put(root, "here")
    poll = ModelPoll(orders, repository, 0.02)  # type: ignore[arg-type]
    task = asyncio.ensure_future(poll.run())
    await eventually(lambda: repository.looks >= 2)  # what comes later than the first is new
    yield root
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


def put(root: Path, name: str, content: str = "") -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "model.yaml").write_text(content)


async def test_what_comes_changes_and_goes(folder: Path, orders: Orders, eventually: Wait) -> None:
    assert orders.given == []
    put(folder, "new")
    await eventually(lambda: orders.given == ["load new"])
    put(folder, "here", "changed")
    await eventually(lambda: orders.given[1:] == ["load here"])
    shutil.rmtree(folder / "here")
    await eventually(lambda: orders.given[2:] == ["unload here"])


async def test_what_failed_is_tried_again_when_it_changes(
    folder: Path, orders: Orders, eventually: Wait
) -> None:
    put(folder, "broken")
    await eventually(lambda: orders.given == ["load broken"])
    put(folder, "other")
    await eventually(lambda: orders.given == ["load broken", "load other"])
    put(folder, "broken", "mended")
    await eventually(lambda: orders.given[2:] == ["load broken"])


async def test_what_nobody_has_thought_of_does_not_end_it(
    folder: Path, orders: Orders, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "odd")
    await eventually(lambda: orders.given == ["load odd"])
    put(folder, "other")
    await eventually(lambda: orders.given == ["load odd", "load other"])
    assert "the folder of a model cannot be followed" in caplog.text


async def test_a_folder_that_vanishes_unloads_nothing(
    folder: Path, repository: Repository, orders: Orders, eventually: Wait
) -> None:
    shutil.move(folder, folder.with_name("away"))
    looks = repository.looks
    await eventually(lambda: repository.looks >= looks + 3)
    shutil.move(folder.with_name("away"), folder)
    put(folder, "new")
    await eventually(lambda: orders.given == ["load new"])
