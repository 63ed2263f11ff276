"""Bills as tables and CSV: what is not known is `unknown`, or an empty cell, and never 0."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from msgspec.structs import replace

from serving.cli.bill_table import show, to_csv
from serving.cli.console import OUT
from serving.control.cost.bill import Bill, ModelBill, Price

OF = ModelBill(
    "m[bold]", 2000, {"replica": 4.0, "gateway": 1.0, "monitor": 0.5, "explainer": 0.5}, 6.0,
    {"drift": 0.25}, {"schema": 0.125}, 12.0, {"rapl": 7.5, "nvml": 2.5},
    Price(cpu=0.5, gpu=0.25, total=0.75), 0.375,
)  # fmt: skip
REST = ModelBill(
    "", 0, {"replica": 0.0, "gateway": 3.0, "monitor": 1.0, "explainer": 0.0}, 4.0, {}, {}, 0.0,
    {"rapl": 0.0, "nvml": 0.0}, Price(cpu=0.1, total=0.1), None,
)  # fmt: skip
UNKNOWN = ModelBill(
    "dark", None, dict.fromkeys(OF.cpu_s), None, {}, {}, None, {"rapl": None, "nvml": None},
    Price(unknown=["cpu", "energy"]), None,
)  # fmt: skip


def bill(*models: ModelBill, **more: Any) -> Bill:
    told: dict[str, Any] = {
        "since": "2026-11-30T08:00:00Z", "until": "2026-11-30T10:00:00Z",
        "recorded_since": "2026-11-30T08:10:00Z", "recorded_s": 6600.0,
        "energy_told": {"rapl": 1.0, "nvml": 1.0}, "currency": "EUR", "prices": {"cpu_second": 1.0},
        "models": list(models), "unattributed": REST, "notes": [],
    }  # fmt: skip
    return Bill(**(told | more))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 250)


def printed(capsys: pytest.CaptureFixture[str], bill: Bill, **more: Any) -> str:
    show(bill, **more)
    return capsys.readouterr().out


def cells(text: str, model: str) -> list[str]:
    line = next(line for line in text.splitlines() if f" {model} " in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_model_is_a_row_and_its_parts_are_rows_below(capsys) -> None:
    text = printed(capsys, bill(OF, notes=["a\x1bb"]))
    assert text.startswith(
        "2026-11-30T08:00:00Z to 2026-11-30T10:00:00Z, recorded since 2026-11-30T08:10:00Z for "
        "1.83 hours\n"
    )
    assert cells(text, "m[bold]") == [
        "m[bold]", "2000", "6", "12", "7.5 (rapl), 2.5 (nvml)", "0.75", "0.375",
    ]  # fmt: skip
    assert cells(text, "(none)") == ["(none)", "0", "4", "0", "0", "0.1", "no rows"]
    spent_for_none = [line for line in text.splitlines() if " (none) " in line][1:]
    assert [line.split("│")[2].strip() for line in spent_for_none] == ["gateway", "monitor"]
    assert cells(text, "replica")[:3] == ["m[bold]", "replica", "4"]
    assert cells(text, "gateway")[3] == "processor time, shared out by requests"
    assert cells(text, "explainer")[2] == "0.5"
    assert cells(text, "check drift")[:3] == ["m[bold]", "check drift", "0.25"]
    assert cells(text, "guard schema") == [
        "m[bold]", "guard schema", "0.125", "elapsed, a part of gateway or replica",
    ]  # fmt: skip
    assert text.endswith("a\\x1bb\n")


def test_what_is_unknown(capsys) -> None:
    text = printed(capsys, bill(UNKNOWN))
    row = cells(text, "dark")
    assert row[1:] == [*["unknown"] * 4, "unknown (cpu, energy)", "unknown"]
    assert cells(text, "replica")[2] == "unknown"


def test_a_price_of_which_a_part_is_known(capsys) -> None:
    part = replace(OF, price=Price(cpu=0.5, unknown=["energy"]), price_per_1000=None)
    part = replace(part, energy_j={"rapl": None, "nvml": 2.5})
    row = cells(printed(capsys, bill(part)), "m[bold]")
    assert row[4:] == ["2.5 (nvml), unknown (rapl)", "0.5 + unknown (energy)", "unknown"]


def test_without_prices(capsys) -> None:
    free = replace(OF, price=Price(), price_per_1000=None)
    text = printed(capsys, bill(free, currency=None, prices={}))
    assert cells(text, "m[bold]")[-2:] == ["no price", "no price"]


def test_one_model_alone_and_nothing_recorded(capsys) -> None:
    text = printed(capsys, bill(UNKNOWN, recorded_since=None, recorded_s=0.0), alone=True)
    assert "nothing is recorded yet" in text
    assert "(none)" not in text


def test_csv_has_a_line_for_each_model_and_nothing_for_what_is_unknown() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(bill(OF, UNKNOWN)))))
    assert [line["model"] for line in lines] == ["m[bold]", "dark", ""]
    first, dark, rest = lines
    assert first["predictions"] == "2000"
    assert (first["cpu_s"], first["cpu_replica_s"], first["gpu_s"]) == ("6.0", "4.0", "12.0")
    assert (first["energy_rapl_j"], first["energy_nvml_j"]) == ("7.5", "2.5")
    assert (first["price_cpu"], first["price"], first["price_per_1000"]) == ("0.5", "0.75", "0.375")
    assert (first["check_drift_cpu_s"], first["guard_schema_s"]) == ("0.25", "0.125")
    assert first["price_energy"] == ""
    about = {"since", "until", "model", "currency"}
    assert {value for name, value in dark.items() if name not in about} == {""}
    assert rest["check_drift_cpu_s"] == ""
    assert len(to_csv(bill(OF), alone=True).splitlines()) == 2
