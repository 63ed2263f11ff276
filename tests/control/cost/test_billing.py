"""Bills: prices of what is known, and nothing that is not known is 0."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import Prices
from serving.control.cost.bill import Bill, Price
from serving.control.cost.billing import Period, make_bill
from serving.control.cost.record import Hour

START = 1_764_504_000
HOUR = 3600.0
ROLES = ("replica", "gateway", "monitor", "explainer")
PRICES = Prices(currency="CHF", cpu_second=0.0001, gpu_second=0.001, kwh=0.25)
EVERY = {"rows", *(f"cpu/{role}" for role in ROLES), "energy/rapl", "energy/nvml"}
EVERY |= {"device/GPU-1", "device/GPU-2"}


def hour(
    models: dict[str, dict[str, float]], parts: set[str] = EVERY, at: int = 0, seconds: float = HOUR
) -> Hour:
    start = START + int(at * HOUR)
    return Hour(start, start, seconds, dict.fromkeys(parts, seconds), models)


def bill(*hours: Hour, prices: Prices = PRICES, models: tuple[str, ...] = ()) -> Bill:
    return make_bill(hours, Period(START, START + len(hours) * HOUR), prices, models)


USED = {
    "rows": 2000.0, "cpu/replica": 60.0, "cpu/gateway": 20.0, "cpu/monitor": 15.0,
    "cpu/explainer": 5.0, "check/drift": 4.0, "guard/schema": 1.0, "gpu/GPU-1": 10.0,
    "gpu/GPU-2": 2.0, "energy/rapl": 7.2e12, "energy/nvml": 3.6e12,
}  # fmt: skip


def test_everything_is_known_and_has_a_price() -> None:
    found = bill(hour({"m": USED, "": {"cpu/gateway": 10.0, "energy/rapl": 3.6e12}}))
    (of,) = found.models
    assert (of.model, of.predictions) == ("m", 2000)
    assert of.cpu_s == {"replica": 60.0, "gateway": 20.0, "monitor": 15.0, "explainer": 5.0}
    assert (of.cpu_total_s, of.gpu_s) == (100.0, 12.0)
    assert (of.checks_cpu_s, of.guards_s) == ({"drift": 4.0}, {"schema": 1.0})
    assert of.energy_j == {"rapl": 7.2e6, "nvml": 3.6e6}
    assert of.price.cpu == pytest.approx(0.01)
    assert of.price.gpu == pytest.approx(0.012)
    assert of.price.energy == pytest.approx(0.75)
    assert of.price.total == pytest.approx(0.772)
    assert of.price.unknown == []
    assert of.price_per_1000 == pytest.approx(0.386)
    assert found.unattributed.cpu_total_s == 10.0
    assert found.unattributed.energy_j == {"rapl": 3.6e6, "nvml": 0.0}
    assert (found.currency, found.energy_told) == ("CHF", {"rapl": 1.0, "nvml": 1.0})
    assert found.notes == []


def test_hours_add_up() -> None:
    found = bill(hour({"m": {"rows": 1.0}}), hour({"m": {"rows": 2.0}, "n": {"rows": 5.0}}, at=1))
    assert [(of.model, of.predictions) for of in found.models] == [("m", 3), ("n", 5)]
    assert found.recorded_s == 2 * HOUR
    assert found.since == "2025-11-30T12:00:00Z"
    assert (found.recorded_since, found.until) == (found.since, "2025-11-30T14:00:00Z")


def test_nothing_is_recorded_yet() -> None:
    found = bill(models=("m",))
    (of,) = found.models
    assert of.predictions is None
    assert set(of.cpu_s.values()) == {None}
    assert (of.cpu_total_s, of.gpu_s) == (None, None)
    assert of.energy_j == {"rapl": None, "nvml": None}
    assert of.price == Price(unknown=["cpu", "gpu", "energy"])
    assert of.price_per_1000 is None
    assert found.recorded_since is None


def test_a_served_model_that_nobody_asked_has_no_price_per_prediction() -> None:
    (of,) = bill(hour({}), models=("m",)).models
    assert (of.predictions, of.cpu_total_s, of.price.total) == (0, 0.0, 0.0)
    assert of.price_per_1000 is None


@pytest.mark.parametrize("role", ["replica", "gateway", "monitor"])
def test_a_role_that_told_nothing_is_unknown_and_so_is_the_price(role: str) -> None:
    used = {key: amount for key, amount in USED.items() if key != f"cpu/{role}"}
    (of,) = bill(hour({"m": used}, EVERY - {f"cpu/{role}"})).models
    assert of.cpu_s[role] is None
    assert of.cpu_total_s is None
    assert (of.price.cpu, of.price.total, of.price_per_1000) == (None, None, None)
    assert of.price.unknown == ["cpu"]
    assert of.price.gpu == pytest.approx(0.012)


def test_no_explainer_has_ever_run() -> None:
    (of,) = bill(hour({"m": {"rows": 1.0}}, EVERY - {"cpu/explainer"})).models
    assert of.cpu_s["explainer"] == 0.0
    assert of.cpu_total_s is not None


@pytest.mark.parametrize(
    ("source", "gpu_s", "known"),
    [("rapl", 12.0, False), ("rapl", 0.0, False), ("nvml", 12.0, False), ("nvml", 0.0, True)],
)
def test_energy_that_no_device_tells(source: str, gpu_s: float, known: bool) -> None:
    used = {key: amount for key, amount in USED.items() if not key.startswith(("gpu/", "energy/"))}
    used |= {"gpu/GPU-1": gpu_s} if gpu_s else {}
    (of,) = bill(hour({"m": used}, EVERY - {f"energy/{source}"})).models
    assert (of.price.energy is not None) is known
    assert of.price.unknown == ([] if known else ["energy"])
    # On no GPU there is nothing that NVML could tell.
    assert (of.energy_j[source] == 0.0) is (source == "nvml" and not gpu_s)


@pytest.mark.parametrize("gpu", ["unknown", "MIG-1"])
def test_energy_of_a_gpu_that_nvml_does_not_know(gpu: str) -> None:
    used = {key: amount for key, amount in USED.items() if key != "energy/nvml"}
    (of,) = bill(hour({"m": {**used, f"gpu/{gpu}": 1.0}})).models
    assert of.gpu_s == 13.0
    assert of.energy_j["nvml"] is None
    assert of.price.unknown == ["energy"]


def test_energy_that_was_told_for_a_part_of_the_time_is_no_price() -> None:
    found = bill(hour({"m": USED}, EVERY - {"energy/rapl"}), hour({"m": USED}, at=1))
    (of,) = found.models
    assert of.energy_j["rapl"] == 14.4e6
    assert of.price.unknown == ["energy"]
    assert found.energy_told["rapl"] == 0.5
    assert found.notes == ["rapl told energy for 50% of the recorded time only"]


def test_what_has_no_price_is_not_charged_and_need_not_be_known() -> None:
    found = bill(hour({"m": USED}, {"rows", "cpu/replica"}), prices=Prices(gpu_second=0.001))
    (of,) = found.models
    assert (of.price.cpu, of.price.energy) == (None, None)
    assert of.price.total == of.price.gpu == pytest.approx(0.012)
    assert found.prices == {"gpu_second": 0.001}


def test_without_prices() -> None:
    found = bill(hour({"m": USED}), prices=Prices())
    assert (found.currency, found.prices) == (None, {})
    assert found.models[0].price == Price()
    assert found.notes == ["no price is configured; set `prices` in vigil.yaml"]


def test_a_free_resource_is_not_one_without_a_price() -> None:
    (of,) = bill(hour({"m": USED}), prices=Prices(cpu_second=0)).models
    assert of.price == Price(cpu=0.0, total=0.0)
    assert of.price_per_1000 == 0.0


def test_a_model_on_another_server_has_no_price() -> None:
    used: dict[str, Any] = {"rows": 10.0, "upstream": 10.0, "cpu/replica": 1.0}
    found = bill(hour({"m": used}))
    (of,) = found.models
    assert of.cpu_s["replica"] == 1.0
    assert of.gpu_s is None
    assert of.price == Price(unknown=["cpu", "gpu", "energy"])
    assert "computed by another server" in found.notes[0]


def test_a_period_that_is_longer_than_the_record() -> None:
    found = make_bill([], Period(0.0, START), PRICES, ())
    assert found.notes == ["hours are kept for 31 days; there is no record before"]
