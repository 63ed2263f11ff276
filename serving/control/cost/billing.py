"""The bill of a period, made of recorded hours and prices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from serving.config import Prices
from serving.control.cost.bill import Bill, ModelBill, Price
from serving.control.cost.nvml import NVML
from serving.control.cost.quantities import (
    CHECK,
    CPU,
    DEVICE,
    ENERGY,
    GPU,
    GUARD,
    ROWS,
    UPSTREAM,
    ByModel,
    add,
    named,
    total,
)
from serving.control.cost.rapl import RAPL
from serving.control.cost.record import HOUR_S, KEPT_S, Hour
from serving.telemetry.metrics.cost import EXPLAINER, NO_MODEL, ROLES

SOURCES: Final = (RAPL, NVML)
JOULES_PER_KWH: Final = 3.6e6
ALL: Final = 0.99
"""Share of the recorded time for which a source must have told for its energy to be all there is.

Less than 1, because the first reading of a source only begins.
"""


class Period(NamedTuple):
    """What a bill is about, in Unix seconds."""

    since: float
    until: float


class _Known(NamedTuple):
    """Which amounts are known of the period, whatever the model.

    Attributes:
        parts: those that were told at some time.
        complete: sources that told all energy, all the time.
    """

    parts: Collection[str]
    complete: Collection[str]


def make_bill(
    hours: Sequence[Hour], period: Period, prices: Prices, models: Collection[str]
) -> Bill:
    """Return the bill of a period.

    Args:
        hours: what was recorded of it, sorted.
        period: begins with a whole hour.
        prices: as they are now; they count for the whole period.
        models: names that are on it in any case.
    """
    seconds = sum(hour.seconds for hour in hours)
    told: dict[str, float] = {}
    used: ByModel = {}
    for hour in hours:
        add(used, hour.models)
        for part, its_seconds in hour.told.items():
            told[part] = told.get(part, 0.0) + its_seconds
    shares = {
        source: min(1.0, told.get(ENERGY + source, 0.0) / seconds) if seconds else 0.0
        for source in SOURCES
    }
    complete = [source for source, share in shares.items() if share >= ALL]
    known = _Known(told.keys(), complete)
    names = sorted((used.keys() | set(models)) - {NO_MODEL})
    bills = [_of_model(name, used.get(name, {}), known, prices) for name in names]
    return Bill(
        _written(period.since),
        _written(period.until),
        _written(hours[0].began) if hours else None,
        seconds,
        shares,
        prices.currency if _priced(prices) else None,
        _priced(prices),
        bills,
        _of_model(NO_MODEL, used.get(NO_MODEL, {}), known, prices),
        _notes(period, shares, prices, used),
    )


def _of_model(model: str, amounts: Mapping[str, float], known: _Known, prices: Prices) -> ModelBill:
    cpu_s: dict[str, float | None] = {
        # Explainers start with the first explanation; nobody tells of those that never did.
        role: amounts.get(CPU + role, 0.0)
        if CPU + role in known.parts or (role == EXPLAINER and known.parts)
        else None
        for role in ROLES
    }
    elsewhere = UPSTREAM in amounts
    # A GPU whose UUID its runtime does not tell, or NVML does not know, gave nobody its energy.
    gpus_told = all(DEVICE + gpu in known.parts for gpu in named(amounts, GPU))
    gpu_s = None if elsewhere or not known.parts else total(amounts, GPU)
    cpu_total_s = _sum(cpu_s.values())
    told = {
        RAPL: ENERGY + RAPL in known.parts,
        NVML: gpu_s == 0 or (ENERGY + NVML in known.parts and gpus_told),
    }
    energy_j = {
        source: amounts.get(ENERGY + source, 0) / 1e6 if told[source] else None
        for source in SOURCES
    }
    whole = RAPL in known.complete and (gpu_s == 0 or NVML in known.complete)
    price = _price(
        prices,
        None if elsewhere else cpu_total_s,
        gpu_s,
        _sum(energy_j.values()) if whole and not elsewhere else None,
    )
    predictions = round(amounts.get(ROWS, 0)) if ROWS in known.parts else None
    per_1000 = price.total / predictions * 1000 if price.total is not None and predictions else None
    return ModelBill(
        model, predictions, cpu_s, cpu_total_s, named(amounts, CHECK), named(amounts, GUARD),
        gpu_s, energy_j, price, per_1000,
    )  # fmt: skip


def _price(
    prices: Prices, cpu_s: float | None, gpu_s: float | None, energy_j: float | None
) -> Price:
    """Return what amounts cost; an amount that is None is not known."""
    parts: dict[str, float | None] = {}
    unknown = []
    for name, amount, price, unit in (
        ("cpu", cpu_s, prices.cpu_second, 1),
        ("gpu", gpu_s, prices.gpu_second, 1),
        ("energy", energy_j, prices.kwh, JOULES_PER_KWH),
    ):
        if price is None:
            continue
        parts[name] = None if amount is None else amount / unit * price
        if amount is None:
            unknown.append(name)
    return Price(**parts, total=_sum(parts.values()) if parts else None, unknown=unknown)


def _priced(prices: Prices) -> dict[str, float | None]:
    """Return the prices that are configured."""
    given = prices.model_dump(exclude={"currency"})
    return {name: price for name, price in given.items() if price is not None}


def _sum(amounts: Collection[float | None]) -> float | None:
    """Return the sum; None where one of them is not known."""
    found = 0.0
    for amount in amounts:
        if amount is None:
            return None
        found += amount
    return found


def _notes(period: Period, shares: Mapping[str, float], prices: Prices, used: ByModel) -> list[str]:
    notes = []
    if not _priced(prices):
        notes.append("no price is configured; set `prices` in vigil.yaml")
    if period.until - period.since > KEPT_S + HOUR_S:
        notes.append(f"hours are kept for {KEPT_S // 86400} days; there is no record before")
    for source, share in shares.items():
        if 0 < share < ALL:
            notes.append(f"{source} told energy for {share:.0%} of the recorded time only")
    for model, amounts in sorted(used.items()):
        if UPSTREAM in amounts:
            notes.append(
                f"model '{model}' is computed by another server, whose time and energy are unknown"
            )
    return notes


def _written(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).isoformat().replace("+00:00", "Z")
