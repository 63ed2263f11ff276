"""A hub on a Unix socket, roles that connect to it, and a way to wait for what they cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from serving.admin.hub import Hub
from serving.channel.directory import Directory, HubClient, Member, Report, ServedModel
from serving.config import InputSpec, ModelConfig, OutputSpec

Wait = Callable[[Callable[[], object]], Awaitable[None]]


class Role:
    """A role's end: what it reports is an attribute, what it was told is kept."""

    def __init__(self, address: str, member: Member) -> None:
        self.report = Report(True, ())
        self.directories: list[Directory] = []
        self.client = HubClient(
            address,
            None,
            member,
            lambda: self.report,
            on_directory=self.directories.append,
            interval_s=0.02,
        )
        self.client.start()


Join = Callable[[Member], Role]


@pytest.fixture
def eventually() -> Wait:
    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - the condition is in other objects' state
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/hub.sock"


@pytest.fixture
async def hub(address: str) -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start(address)
    yield hub
    hub.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def join(address: str) -> AsyncIterator[Join]:
    roles: list[Role] = []

    def start(member: Member) -> Role:
        roles.append(Role(address, member))
        return roles[-1]

    yield start
    for role in roles:
        await role.client.stop()
    await asyncio.sleep(0)


@pytest.fixture
def served() -> ServedModel:
    config = ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 3])],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 2])],
    )
    return ServedModel("m", "1", config.model_dump_json().encode(), "models/m/1")
