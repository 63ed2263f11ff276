"""What an instance answers when it is asked what its models cost. What is None is not known."""

from __future__ import annotations

import msgspec


class Price(msgspec.Struct, frozen=True):
    """What a model has cost, in the currency's units.

    Attributes:
        cpu, gpu, energy: the parts; None where there is no price, or the amount is not known.
        total: their sum; None where nothing has a price, or an amount that has one is not known.
        unknown: which amounts that have a price are not known, or not all of them.
    """

    cpu: float | None = None
    gpu: float | None = None
    energy: float | None = None
    total: float | None = None
    unknown: list[str] = []


class ModelBill(msgspec.Struct, frozen=True):
    """What one model has used and cost.

    Attributes:
        model: its name; empty for what belongs to no model.
        predictions: rows that it answered.
        cpu_s: processor seconds by role.
        cpu_total_s: their sum.
        checks_cpu_s: processor seconds of checks in the monitor, a part of its `cpu_s`.
        guards_s: elapsed seconds of guards, a part of the time of gateways and replicas.
        gpu_s: seconds of computing on GPUs.
        energy_j: its share of what devices told, joules by source.
        price: what that has cost.
        price_per_1000: of that, for 1,000 predictions; None also where there was none.
    """

    model: str
    predictions: int | None
    cpu_s: dict[str, float | None]
    cpu_total_s: float | None
    checks_cpu_s: dict[str, float]
    guards_s: dict[str, float]
    gpu_s: float | None
    energy_j: dict[str, float | None]
    price: Price
    price_per_1000: float | None


class Bill(msgspec.Struct, frozen=True):
    """The whole answer.

    Attributes:
        since, until: what was asked for, begun with a whole hour; RFC 3339.
        recorded_since: when the record of it begins; None where there is none.
        recorded_s: for how long there is a record.
        energy_told: share of that time for which a source told all energy of its devices.
        currency: of all prices; None without prices.
        prices: as they are configured, per hour and kilowatt-hour.
        models: sorted by name.
        unattributed: what belongs to no model.
        notes: what is not known or left out, and why; one sentence each.
    """

    since: str
    until: str
    recorded_since: str | None
    recorded_s: float
    energy_told: dict[str, float]
    currency: str | None
    prices: dict[str, float | None]
    models: list[ModelBill]
    unattributed: ModelBill
    notes: list[str]
