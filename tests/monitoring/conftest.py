"""A control plane, a tabular model version with a profile, and gateways that feed a monitor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitors.reference.profile import ReferenceProfile
from serving.channel.messages.directory import Directory, Member, ServedModel
from serving.channel.messages.reports import GatewayStatus, Report
from serving.channel.registry_client import RegistryClient
from serving.config import DriftMonitor as DriftConfig
from serving.config import Fairness, Feature, InputSpec, ModelConfig, Monitors, OutputSpec
from serving.control.registry import Registry
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.publisher import EventPublisher, Limits
from serving.models.profile.columns import answer_columns, input_columns
from serving.models.profile.dataset import Dataset, write_dataset
from serving.telemetry.counters import SeriesSet

WINDOW = 200
PURPOSES = [b"car", b"home", b"other"]


class Tabular:
    """Rows of a model with two numbers, a category and a sensitive attribute."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def inputs(self, n: int, shift: float = 0.0) -> dict[str, np.ndarray]:
        numbers = self.random.normal(size=(n, 2)) + np.array([shift, 0.0])
        words = np.array([[PURPOSES[i]] for i in self.random.integers(0, 3, n)], dtype=object)
        return {"x": numbers.astype(np.float32), "words": words}

    def outputs(self, favorable: np.ndarray) -> dict[str, np.ndarray]:
        p = np.where(favorable, 0.9, 0.1).astype(np.float32)
        return {"p": np.stack([1 - p, p], axis=1)}

    def publish(
        self,
        publisher: EventPublisher,
        n: int,
        shift: float = 0.0,
        *,
        ids: str = "r",
        timestamp: float = 1000.0,
        favorable: np.ndarray | None = None,
        sex: np.ndarray | None = None,
        version: str = "1",
    ) -> None:
        """Publish n requests of one row each, in batches of ten."""
        favorable = self.random.random(n) < 0.5 if favorable is None else favorable
        inputs, outputs = self.inputs(n, shift), self.outputs(favorable)
        for start in range(0, n, 10):
            part = slice(start, min(start + 10, n))
            rows = part.stop - part.start
            batch = EventBatch(
                timestamp,
                [f"{ids}{row}" for row in range(part.start, part.stop)],
                [1] * rows,
                {name: array[part] for name, array in inputs.items()},
                {name: array[part] for name, array in outputs.items()},
                None if sex is None else {"sex": sex[part]},
            )
            publisher.publish(EventKey("loans", version), batch)


@pytest.fixture
def tabular() -> Tabular:
    return Tabular(0)


@pytest.fixture
def tabular_config() -> ModelConfig:
    return ModelConfig(
        format="torch_export",
        inputs=[
            InputSpec(
                name="x",
                datatype="FP32",
                shape=[-1, 2],
                features=[Feature(name="income"), Feature(name="debt")],
            ),
            InputSpec(
                name="words",
                datatype="BYTES",
                shape=[-1, 1],
                features=[Feature(name="purpose", categories=["car", "home", "other"])],
            ),
        ],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 2], classes=["no", "yes"])],
        monitors=Monitors(drift=DriftConfig(window=WINDOW)),
        fairness=Fairness(sensitive=["sex"], favorable="yes", window=400),
    )


@pytest.fixture
def served(tmp_path: Path, tabular_config: ModelConfig) -> ServedModel:
    """The version on disk, as `vigil profile` leaves it, without weights: nobody predicts here."""
    folder = tmp_path / "loans" / "1"
    (folder / "profile").mkdir(parents=True)
    inputs = Tabular(1).inputs(2000)
    favorable = np.random.default_rng(2).random(2000) < 0.5
    answers = answer_columns(Tabular(1).outputs(favorable), tabular_config)
    profile = replace(
        ReferenceProfile.fit(input_columns(inputs, tabular_config)),
        outputs=ReferenceProfile.fit(answers),
    )
    (folder / "profile" / "drift.json").write_bytes(msgspec.json.encode(profile.to_dict()))
    write_dataset(folder / "reference.parquet", Dataset(inputs), tabular_config)
    return ServedModel("loans", "1", tabular_config.model_dump_json().encode(), str(folder))


@pytest.fixture
async def registry(tmp_path: Path, served: ServedModel) -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start(f"unix:{tmp_path}/registry.sock")
    registry.set_models([served])
    yield registry
    registry.stop()
    await asyncio.sleep(0)


class Gateway:
    """The part of a gateway that publishes."""

    def __init__(self, registry_address: str, ident: str) -> None:
        self.series = SeriesSet()
        self.publisher = EventPublisher(ident, self.series, limits=Limits(delay_s=0.005))
        self.directories: list[Directory] = []
        self.client = RegistryClient(
            registry_address,
            None,
            Member("gateway", ident, 1),
            lambda: Report(True, self.series.snapshot(), GatewayStatus()),
            on_directory=self._directory,
            interval_s=0.05,
        )

    def _directory(self, directory: Directory) -> None:
        self.directories.append(directory)
        self.publisher.on_directory(directory)


async def _run(tmp_path: Path, ident: str) -> AsyncIterator[Gateway]:
    made = Gateway(f"unix:{tmp_path}/registry.sock", ident)
    made.client.start()
    yield made
    made.publisher.close()
    await made.client.stop()


@pytest.fixture
async def gateway(tmp_path: Path, registry: Registry) -> AsyncIterator[Gateway]:
    async for made in _run(tmp_path, "gateway-0"):
        yield made


@pytest.fixture
async def other_gateway(tmp_path: Path, registry: Registry) -> AsyncIterator[Gateway]:
    async for made in _run(tmp_path, "gateway-1"):
        yield made


@pytest.fixture
def scripted_python(monkeypatch, tmp_path):
    """Lets a shell script take the place of Python; returns the processes that were started."""
    started = []
    start = asyncio.create_subprocess_exec

    async def remember(*arguments, **more):
        started.append(await start(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)

    def does(script):
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        return started

    yield does
    assert all(each.returncode is not None for each in started)
