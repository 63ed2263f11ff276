"""A bill as tables for people, and as CSV. What is not known is never shown as 0."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

from rich.table import Column, Table

from serving.cli.console import OUT, cell, say
from serving.control.cost.bill import Bill, ModelBill
from serving.telemetry.metrics.cost import EXPLAINER, GATEWAY, MONITOR, REPLICA, ROLES

UNKNOWN: Final = "unknown"
NOBODY: Final = "(none)"
_MEASURED: Final = {
    REPLICA: "processor time",
    GATEWAY: "processor time, shared out by requests",
    MONITOR: "processor time",
    EXPLAINER: "processor time",
}


def show(bill: Bill, *, alone: bool = False) -> None:
    """Print a bill as tables.

    Args:
        bill: the bill.
        alone: whether it is about one model, so that what belongs to none is left out.
    """
    say(_period(bill))
    lines = bill.models if alone else [*bill.models, bill.unattributed]
    OUT.print(_models(bill, lines))
    OUT.print(_parts(lines))
    for note in bill.notes:
        say(note)


def _period(bill: Bill) -> str:
    if bill.recorded_since is None:
        return f"{bill.since} to {bill.until}: nothing is recorded yet"
    hours = bill.recorded_s / 3600
    return (
        f"{bill.since} to {bill.until}, recorded since {bill.recorded_since} for {hours:.2f} hours"
    )


def _models(bill: Bill, lines: Iterable[ModelBill]) -> Table:
    price = bill.currency or "price"
    numbers = ("rows", "CPU s", "GPU s", "energy J", price, "per 1,000")
    columns = (
        # In narrow terminals the names of columns and plain numbers stay whole.
        Column(name, justify="right", overflow="fold", min_width=len(name))
        for name in numbers
    )
    table = Table(Column("model", overflow="fold"), *columns)
    for line in lines:
        table.add_row(
            cell(line.model or NOBODY),
            UNKNOWN if line.predictions is None else str(line.predictions),
            _amount(line.cpu_total_s),
            _amount(line.gpu_s),
            _energy(line),
            _price(bill, line),
            _per_1000(bill, line),
        )
    return table


def _parts(lines: Iterable[ModelBill]) -> Table:
    """Return where processor time went: a row for each role and, below the roles, each check."""
    seconds = Column("seconds", justify="right")
    table = Table(Column("model", overflow="fold"), "spent in", seconds, "measured")
    for line in lines:
        for role in ROLES:
            if not line.model and line.cpu_s[role] == 0:
                continue  # replicas and explainers work for one model each
            table.add_row(
                cell(line.model or NOBODY), role, _amount(line.cpu_s[role]), _MEASURED[role]
            )
        for check, spent in line.checks_cpu_s.items():
            measured = "processor time, a part of monitor"
            table.add_row(cell(line.model), cell(f"check {check}"), _amount(spent), measured)
        for guard, spent in line.guards_s.items():
            measured = "elapsed, a part of gateway or replica"
            table.add_row(cell(line.model), cell(f"guard {guard}"), _amount(spent), measured)
    return table


def _amount(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:.4g}"


def _energy(line: ModelBill) -> str:
    """Return the energy by source; a source that told 0 beside another is left out."""
    known = [f"{joules:.4g} ({source})" for source, joules in line.energy_j.items() if joules]
    missing = [
        f"{UNKNOWN} ({source})" for source, joules in line.energy_j.items() if joules is None
    ]
    if not known and not missing:
        return "0"
    return ", ".join((*known, *missing)) if known else UNKNOWN


def _price(bill: Bill, line: ModelBill) -> str:
    price = line.price
    if not bill.prices:
        return "no price"
    if price.total is not None:
        return f"{price.total:.6g}"
    known = [part for part in (price.cpu, price.gpu, price.energy) if part is not None]
    without = f"{UNKNOWN} ({', '.join(price.unknown)})"
    return f"{sum(known):.6g} + {without}" if known else without


def _per_1000(bill: Bill, line: ModelBill) -> str:
    if not bill.prices:
        return "no price"
    if line.predictions == 0:
        return "no rows"
    return UNKNOWN if line.price_per_1000 is None else f"{line.price_per_1000:.6g}"


def to_csv(bill: Bill, *, alone: bool = False) -> str:
    """Return a bill as CSV, RFC 4180: a line for each model; what is not known is empty.

    Args:
        bill, alone: see `show`.
    """
    lines = bill.models if alone else [*bill.models, bill.unattributed]
    checks = sorted({name for line in lines for name in line.checks_cpu_s})
    guards = sorted({name for line in lines for name in line.guards_s})
    sources = list(bill.unattributed.energy_j)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([
        "since", "until", "model", "predictions", "cpu_s", *(f"cpu_{role}_s" for role in ROLES),
        "gpu_s", *(f"energy_{source}_j" for source in sources), "currency", "price_cpu",
        "price_gpu", "price_energy", "price", "price_per_1000",
        *(f"check_{name}_cpu_s" for name in checks), *(f"guard_{name}_s" for name in guards),
    ])  # fmt: skip
    for line in lines:
        price = line.price
        writer.writerow([
            bill.since, bill.until, line.model, line.predictions, line.cpu_total_s,
            *(line.cpu_s[role] for role in ROLES), line.gpu_s,
            *(line.energy_j[source] for source in sources), bill.currency, price.cpu, price.gpu,
            price.energy, price.total, line.price_per_1000,
            *(line.checks_cpu_s.get(name) for name in checks),
            *(line.guards_s.get(name) for name in guards),
        ])  # fmt: skip
    return text.getvalue()
