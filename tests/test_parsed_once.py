"""How often each process parses the configuration of a version that it serves: once."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import serving
from serving.admin.console import console_data
from serving.channel.messages.directory import Directory, ServedModel
from serving.config import ModelConfig
from serving.config.encoded import decode_config
from serving.control.fall_back import may_fall_back
from serving.control.history import History
from serving.control.instance_status import instance_status
from serving.control.registry import Registry
from serving.dataplane.handler import DataPlane
from serving.roles.served_entry import served_entry

Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Every configuration that is parsed from now on; the process has kept none before."""
    found: list[bytes] = []
    parse = ModelConfig.model_validate_json

    def count(encoded: bytes, **options: Any) -> ModelConfig:
        found.append(encoded)
        return parse(encoded, **options)

    decode_config.cache_clear()
    monkeypatch.setattr(ModelConfig, "model_validate_json", count)
    yield found
    decode_config.cache_clear()


def again(served: ServedModel) -> ServedModel:
    """Return the version as the next directory brings it: equal, and other bytes."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(served), type=ServedModel)


async def test_the_hub_parses_it_once(
    registry: Registry, served: ServedModel, parsed: list[bytes]
) -> None:
    for _ in range(3):
        registry.set_models([again(served)])
        may_fall_back(registry.directory.models[0])
        console_data(registry, History())
        instance_status(registry)
        registry.note_failure(served.key, "no weights")
        registry.ready()
    assert parsed == [served.config]


async def test_a_gateway_parses_it_once(served: ServedModel, parsed: list[bytes]) -> None:
    plane = DataPlane("g")
    for generation in (1, 2, 3):
        revision = msgspec.structs.replace(again(served), revision=str(generation))
        plane.apply(Directory(generation, (revision,)))
        plane.ready()
        plane.status()
    plane.close()
    assert parsed == [served.config]


def test_other_roles_parse_it_once(served: ServedModel, parsed: list[bytes]) -> None:
    for _ in range(3):
        served_entry(again(served))
    assert parsed == [served.config]


def test_there_is_one_place_that_parses() -> None:
    root = Path(serving.__file__).parent
    places = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        if re.search(r"\bModelConfig\.(model_validate_json|parse_raw)\b", path.read_text())
    ]
    assert places == ["config/encoded.py"]
