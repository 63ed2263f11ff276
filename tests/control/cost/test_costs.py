"""Costs of a running instance: metrics, the record across restarts, and bills."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.channel.messages.directory import ServedModel
from serving.config import InputSpec, ModelConfig, OutputSpec, Prices, Remote, ServerConfig
from serving.control.cost.costs import Costs, meter_of
from serving.control.cost.energy import DeviceEnergy, Meter, Told
from serving.errors import NotFound
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.cost import MODEL_CPU_TIME, MODEL_GPU_TIME
from serving.telemetry.metrics.inference import INFERENCE_ROWS

NOON = 1_764_504_000.0
CPU_SECOND, KWH = 0.001, 0.36


def served(name: str, **more: Any) -> ServedModel:
    config = ModelConfig(
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 1])],
        outputs=[OutputSpec(name="y", datatype="FP32", shape=[-1, 1])],
        **({"format": "torch_export"} | more),
    )
    return ServedModel(name, "1", config.model_dump_json().encode(), "nowhere")


class Source:
    name = "rapl"

    def __init__(self) -> None:
        self.device = "p0"
        self.microjoules = 0
        self.told = True

    def read(self) -> Told:
        used, self.microjoules = self.microjoules, 0
        return Told((DeviceEnergy(self.device, used),), complete=True) if self.told else Told()


class Instance:
    """What costs know of an instance, and clocks; `roles` are the series of its members."""

    def __init__(self, data_dir: Path, *models: ServedModel, **prices: Any) -> None:
        self.series = SeriesSet()
        self.roles = SeriesSet()
        self.before = SeriesSet()
        self.directory = SimpleNamespace(models=models)
        self.now = NOON
        self.source = Source()
        config = ServerConfig(data_dir=data_dir, prices=Prices(**prices))
        meter = Meter((self.source,), lambda: self.now)
        self.costs = Costs(self, config, meter, lambda: self.now)  # type: ignore[arg-type]

    def aggregate(self) -> list[Any]:
        return [*self.roles.snapshot(), *self.series.snapshot()]

    def inherited(self) -> list[Any]:
        return list(self.before.snapshot())

    def predict(
        self, model: str, rows: float, cpu_s: float, roles: SeriesSet | None = None
    ) -> None:
        series = self.roles if roles is None else roles
        series.sum(INFERENCE_ROWS, model=model, version="1").add(rows)
        for role in ("replica", "gateway", "monitor"):
            series.sum(MODEL_CPU_TIME, model=model, version="1", role=role).add(cpu_s / 3)

    async def count(self, seconds: float = 5.0) -> None:
        self.now += seconds
        await self.costs.count()

    def shown(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        return {each.attributes: each.value for each in self.series.snapshot() if each.name == name}


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)


@pytest.mark.usefixtures("two_processors")
async def test_energy_and_prices_as_metrics(tmp_path: Path) -> None:
    instance = Instance(tmp_path, cpu_second=CPU_SECOND, kwh=KWH)
    await instance.costs.begin()
    for _ in range(2):
        instance.predict("a", 10, 3.0)
        instance.predict("b", 10, 1.0)
        instance.source.microjoules = 1_000_001
        await instance.count()
    energy = instance.shown("vigil.energy.joules")
    assert energy == {
        (("model", "a"), ("source", "rapl")): 0.6,
        (("model", "b"), ("source", "rapl")): 0.2,
        (("model", ""), ("source", "rapl")): 1.200002,
    }
    cost = instance.shown("vigil.cost")
    assert cost[("currency", "EUR"), ("model", "a"), ("resource", "cpu")] == pytest.approx(0.006)
    of_energy = ("currency", "EUR"), ("model", "b"), ("resource", "energy")
    assert cost[of_energy] == pytest.approx(0.2 / 3.6e6 * KWH)
    assert {dict(attributes)["resource"] for attributes in cost} == {"cpu", "energy"}


async def test_energy_of_a_gpu_goes_to_who_computed_on_it(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.source.name, instance.source.device = "nvml", "GPU-1"
    await instance.costs.begin()
    for model, gpu in (("a", "GPU-1"), ("b", "GPU-2")):
        instance.predict(model, 10, 3.0)
        of = {"model": model, "version": "1"}
        instance.roles.sum(MODEL_GPU_TIME, device=gpu, **of).add(2.5)
    instance.source.microjoules = 1_000_000
    await instance.count()
    a, b = (await instance.costs.bill(NOON)).models
    assert (a.gpu_s, a.energy_j) == (2.5, {"rapl": None, "nvml": 0.5})
    assert (b.gpu_s, b.energy_j) == (2.5, {"rapl": None, "nvml": None})


async def test_without_prices_and_devices_there_is_neither(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.source.told = False
    await instance.costs.begin()
    instance.predict("a", 10, 3.0)
    await instance.count()
    assert instance.series.snapshot() == ()
    (of,) = (await instance.costs.bill(NOON)).models
    assert (of.predictions, of.cpu_total_s) == (10, pytest.approx(3.0))
    assert of.energy_j["rapl"] is None
    assert of.price.total is None


async def test_the_record_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Instance(tmp_path, cpu_second=CPU_SECOND)
    await first.costs.begin()
    first.predict("a", 10, 3.0)
    await first.count()
    await first.costs.write()
    second = Instance(tmp_path, cpu_second=CPU_SECOND)
    second.now = first.now + 60
    await second.costs.begin()
    second.predict("a", 5, 1.5)
    await second.count()
    bill = await second.costs.bill(NOON)
    (of,) = bill.models
    assert of.predictions == 15
    assert of.cpu_total_s == pytest.approx(4.5)
    assert of.price.total == pytest.approx(0.0045)
    assert of.price_per_1000 == pytest.approx(0.3)
    assert bill.recorded_s == 10.0


async def test_what_members_did_before_this_control_plane_is_not_counted_again(
    tmp_path: Path,
) -> None:
    instance = Instance(tmp_path)
    instance.predict("a", 1000, 30.0)
    instance.predict("a", 1000, 30.0, instance.before)
    await instance.costs.begin()
    instance.predict("a", 1, 0.3)
    await instance.count()
    (of,) = (await instance.costs.bill(NOON)).models
    assert of.predictions == 1
    assert of.cpu_total_s == pytest.approx(0.3)


async def test_one_model_or_all(tmp_path: Path) -> None:
    instance = Instance(tmp_path, served("idle"))
    await instance.costs.begin()
    instance.predict("a", 1, 0.1)
    await instance.count()
    assert [of.model for of in (await instance.costs.bill(NOON)).models] == ["a", "idle"]
    assert [of.model for of in (await instance.costs.bill(NOON, "a")).models] == ["a"]
    with pytest.raises(NotFound, match=r"^no model 'x\\x1b' was served since 2025-11-30T12"):
        await instance.costs.bill(NOON, "x\x1b")


async def test_a_model_of_another_server_is_told_apart(tmp_path: Path) -> None:
    remote = Remote(url="http://127.0.0.1:1", model="m")
    instance = Instance(tmp_path, served("far", format="remote", remote=remote), cpu_second=1)
    await instance.costs.begin()
    instance.predict("far", 7, 0.1)
    instance.predict("near", 7, 0.1)
    await instance.count()
    far, near = (await instance.costs.bill(NOON)).models
    assert far.price.unknown == ["cpu"]
    assert near.price.unknown == []


async def test_a_record_that_cannot_be_written_is_logged_once_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "costs").write_text("in the way")
    instance = Instance(tmp_path)
    await instance.costs.begin()
    instance.predict("a", 1, 0.1)
    await instance.count()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="vigil"):
        await instance.costs.write()
        await instance.costs.write()
    assert [record.getMessage() for record in caplog.records] == [
        "the record of costs cannot be saved: Not a directory"
    ]
    assert (await instance.costs.bill(NOON)).models[0].predictions == 1


async def test_a_damaged_record_is_logged_and_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "costs").mkdir()
    (tmp_path / "costs" / "2025-11-30.json").write_text("{")
    instance = Instance(tmp_path)
    with caplog.at_level(logging.INFO, logger="vigil"):
        await instance.costs.begin()
    assert "begins anew" in caplog.text
    instance.predict("a", 1, 0.1)
    await instance.count()
    assert (await instance.costs.bill(NOON)).models[0].predictions == 1


async def test_stopping_counts_and_writes_what_is_left(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.costs.start()
    instance.predict("a", 3, 0.1)
    await instance.costs.stop()
    again = Instance(tmp_path)
    await again.costs.begin()
    assert (await again.costs.bill(NOON)).models[0].predictions == 3


def test_on_a_cluster_that_was_joined_no_device_is_read() -> None:
    def sources(**config: Any) -> set[str]:
        return set(meter_of(ServerConfig(**config)).read().sources)

    assert sources(ray_address="ray.example:6379") == set()
    assert sources() == sources(engine="local") == {"rapl", "nvml"}
