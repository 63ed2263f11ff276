"""What runs is told once, totals are sampled, and pushed where there is a collector."""

from __future__ import annotations

import asyncio
import platform

import pytest

from serving.config import ServerConfig, Telemetry
from serving.control import exports
from serving.control.exports import Exports
from serving.control.registry import Registry
from serving.telemetry.resource import own_version


class Pusher:
    """Writes down what it is told."""

    made = None

    def __init__(self, endpoint, started_ns, failures):
        Pusher.made = self
        self.made_of = endpoint, started_ns, failures
        self.steps = []

    def start(self):
        self.steps.append("start")

    def offer(self, series):
        self.steps.append(series)

    def stop(self):
        self.steps.append("stop")


class Costs:
    """Counts as long as it is let."""

    def __init__(self):
        self.steps = []

    def start(self):
        self.steps.append("start")

    async def stop(self):
        self.steps.append("stop")


class History:
    def __init__(self):
        self.samples = []

    def sample(self, series):
        self.samples.append(series)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(Pusher, "made", None)
    monkeypatch.setattr("serving.telemetry.export.otlp.OtlpPusher", Pusher)
    monkeypatch.setattr(exports, "SAMPLE_S", 0.01)


@pytest.fixture
def totals():
    return Registry()


def config(endpoint="http://c:4318", interval_s=0.01, **more):
    return ServerConfig(telemetry=Telemetry(otlp_endpoint=endpoint, interval_s=interval_s), **more)


def names(series):
    return {each.name for each in series}


def build_info(totals):
    (info,) = [each for each in totals.series.snapshot() if each.name == "vigil.build.info"]
    assert info.value == 1
    return dict(info.attributes)


@pytest.mark.parametrize(
    ("given", "told"),
    [((), ("local", "envoy")), (("application", "application"), ("application",) * 2)],
)
def test_what_runs_is_a_series_from_the_beginning(totals, given, told):
    Exports(totals, config(engine="local", ingress="envoy"), History(), Costs(), *given)
    assert build_info(totals) == {
        "version": own_version(),
        "python": platform.python_version(),
        "engine": told[0],
        "ingress": told[1],
    }


async def test_totals_are_sampled_again_and_again(totals, eventually):
    history = History()
    made = Exports(totals, config(endpoint=None), history, Costs())
    assert history.samples == []
    made.start()
    await eventually(lambda: len(history.samples) >= 3)
    assert all("vigil.build.info" in names(sample) for sample in history.samples)
    await made.stop()
    seen = len(history.samples)
    await asyncio.sleep(0.03)
    assert len(history.samples) == seen


@pytest.mark.parametrize("endpoint", [None, ""])
async def test_without_a_collector_nothing_is_pushed(totals, endpoint):
    made = Exports(totals, config(endpoint), History(), Costs())
    made.start()
    await made.stop()
    assert Pusher.made is None
    assert "vigil.telemetry.export.failures" not in names(totals.series.snapshot())


async def test_an_exporter_that_cannot_be_made_costs_pushes_alone(
    totals, eventually, monkeypatch, caplog
):
    def refuses(*_args):
        raise ValueError("X names 'y', which cannot be read")

    monkeypatch.setattr("serving.telemetry.export.otlp.OtlpPusher", refuses)
    history = History()
    made = Exports(totals, config(), history, Costs())
    made.start()
    await eventually(lambda: history.samples)
    await made.stop()
    (record,) = caplog.records
    assert record.vigil_fields["event"] == "metrics_not_exported"
    assert record.getMessage() == (
        "no metrics are pushed: their exporter cannot be made: X names 'y', which cannot be read"
    )


async def test_totals_are_pushed_in_the_interval_and_once_at_the_end(totals, eventually):
    made = Exports(totals, config(), History(), Costs())
    made.start()
    pusher = Pusher.made
    endpoint, started_ns, failures = pusher.made_of
    assert (endpoint, started_ns) == ("http://c:4318", totals.started_ns)
    failures.add(1)  # it counts among the totals that are pushed
    await eventually(lambda: len(pusher.steps) >= 3)
    assert pusher.steps[0] == "start"
    assert "vigil.telemetry.export.failures" in names(pusher.steps[-1])
    await made.stop()
    assert pusher.steps[-1] == "stop"
    assert "vigil.build.info" in names(pusher.steps[-2])


async def test_the_first_push_waits_for_its_interval_and_the_last_does_not(totals):
    made = Exports(totals, config(interval_s=600), History(), Costs())
    made.start()
    for _ in range(5):
        await asyncio.sleep(0)
    assert Pusher.made.steps == ["start"]
    await made.stop()
    start, last, stop = Pusher.made.steps
    assert (start, stop) == ("start", "stop")
    assert "vigil.build.info" in names(last)


async def test_costs_are_counted_from_the_start_to_the_end(totals):
    costs = Costs()
    made = Exports(totals, config(endpoint=None), History(), costs)
    made.start()
    await made.stop()
    assert costs.steps == ["start", "stop"]


async def test_what_was_never_started_ends(totals):
    await Exports(totals, config(), History(), Costs()).stop()
    assert Pusher.made is None
