"""Which models are ready, as gauges, from what gateways say."""

from __future__ import annotations

from typing import Any

from serving.channel.messages.directory import BrokenModel, ServedModel
from serving.channel.messages.reports import CandidateStanding, GatewayStatus, UnreadyVersion
from serving.control.model_series import ModelSeries
from serving.telemetry.counters import SeriesSet

M1 = ServedModel("m", "1", b"{}", "/m/1", revision="a")
M2 = ServedModel("m", "2", b"{}", "/m/2", revision="b")


def status(generation: int = 9, **more: Any) -> GatewayStatus:
    return GatewayStatus(generation, **more)


def shown(series: SeriesSet) -> dict[tuple[str, str, str], float]:
    found = {}
    for item in series.snapshot():
        labels = dict(item.attributes)
        found[labels["model"], labels["version"], labels["wanted"]] = item.value
    return found


def test_every_gateway_must_know_the_version_and_be_able_to_answer() -> None:
    series = SeriesSet()
    models = ModelSeries(series)
    models.follow(5, (M1,), (), ())
    key = ("m", "1", "true")
    models.update([status()], 2)
    assert shown(series) == {key: 0}
    models.update([status(), status(4)], 2)  # one has not heard of it yet
    assert shown(series) == {key: 0}
    models.update([status(), status(5)], 2)
    assert shown(series) == {key: 1}
    models.update([status(), status(unready=(UnreadyVersion("m", "1", "no replica yet"),))], 2)
    assert shown(series) == {key: 0}
    # Another change of the directory is no reason to doubt a version that it does not change.
    models.follow(20, (M1, M2), (), ())
    models.update([status(5), status(5)], 2)
    assert shown(series) == {key: 1, ("m", "2", "true"): 0}


def test_what_is_tried_is_not_wanted_yet_and_what_failed_is() -> None:
    series = SeriesSet()
    models = ModelSeries(series)
    models.follow(5, (M1,), (M2,), ())
    models.update([status()], 1)
    assert shown(series) == {("m", "1", "true"): 1, ("m", "2", "false"): 0}
    models.update([status(candidates=(CandidateStanding(*M2.key, "READY"),))], 1)
    assert shown(series) == {("m", "1", "true"): 1, ("m", "2", "false"): 1}
    models.follow(6, (M1,), (), (BrokenModel("m", "2", "why"),))
    models.update([status()], 1)
    assert shown(series) == {("m", "1", "true"): 1, ("m", "2", "true"): 0}
    models.follow(7, (M2,), (), ())
    models.update([status()], 1)
    assert shown(series) == {("m", "2", "true"): 1}


def test_a_folder_that_is_wrong_is_shown_while_nothing_of_it_is_served() -> None:
    series = SeriesSet()
    models = ModelSeries(series)
    models.follow(5, (M1,), (), (BrokenModel("m", "", "why"), BrokenModel("n", "", "why")))
    models.update([status()], 1)
    assert shown(series) == {("m", "1", "true"): 1, ("n", "", "true"): 0}


def test_nothing_is_wanted_of_an_instance_that_stops() -> None:
    series = SeriesSet()
    models = ModelSeries(series)
    models.follow(5, (M1,), (), ())
    models.update([status()], 1)
    models.end()
    assert shown(series) == {}
    models.update([], 1)
    assert shown(series) == {}
