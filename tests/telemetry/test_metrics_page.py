"""`docs/metrics.md` has every metric as the code declares it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from serving.telemetry.export.prometheus import prometheus_name
from serving.telemetry.metric import Metric
from serving.telemetry.metrics.declared import METRICS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
TYPES = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
UNRECORDED = "## Declared and not recorded yet"


def rows(text: str) -> dict[str, list[str]]:
    cells = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    found = {row[0].strip(" `"): [cell.strip() for cell in row] for row in cells}
    assert len(found) == len(cells), "a metric stands there twice"
    return found


def declared(metric: Metric) -> list[str]:
    family = prometheus_name(metric.name, metric.kind, metric.unit)
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return [
        f"`{metric.name}`",
        f"`{family}_total`" if metric.kind == "sum" else f"`{family}`",
        TYPES[metric.kind],
        f"`{metric.unit}`",
        labels,
        metric.description,
    ]


def test_it_has_every_metric_as_it_is_declared_and_no_other() -> None:
    found = rows(PAGE.read_text(encoding="utf-8"))
    assert {name: row[:6] for name, row in found.items()} == {
        name: declared(metric) for name, metric in METRICS.items()
    }
    hints = [row[6] for row in found.values() if len(row) > 6]
    assert all(hints)


def test_what_is_said_to_be_unrecorded_is_what_no_code_uses() -> None:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(UNRECORDED)
    areas = ROOT / "serving" / "telemetry" / "metrics"
    declared = "\n".join(path.read_text(encoding="utf-8") for path in areas.glob("*.py"))
    constants = dict(
        re.findall(r'^([A-Z_]+): Final = \w+\(\s*"([a-z_.]+)"', declared, re.MULTILINE)
    )
    assert set(constants.values()) == set(METRICS)
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "serving").rglob("*.py")
        if path.parent.name not in ("metrics", "admin")  # the console only reads
    )
    words = set(re.findall(r"\w+", code))
    unused = {name for constant, name in constants.items() if constant not in words}
    assert set(rows(rest)) == unused
