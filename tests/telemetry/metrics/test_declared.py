"""Whoever records a metric gives it the attributes that it declares: all of them are used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.telemetry.metric import Metric
from serving.telemetry.metrics import declared
from serving.telemetry.metrics.declared import METRICS

ROOT = Path(__file__).parents[3] / "serving"
FOLDER = ROOT / "telemetry" / "metrics"
AREAS = sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__", "declared"})
PAGE = (ROOT.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
NOT_YET = set(re.findall(r"^\| `([^`]+)`", PAGE.partition("and not recorded yet")[2], re.MULTILINE))
"""Of what is not built."""


def constants() -> dict[str, Metric]:
    """Metrics by the name of their constant."""
    return {
        name: value
        for area in AREAS
        for name, value in vars(getattr(declared, area)).items()
        if type(value) is Metric
    }


def recorders() -> Iterator[tuple[set[str], set[str]]]:
    """Constants that a file names where it records, and every attribute that it could give."""
    for path in ROOT.rglob("*.py"):
        if path.parent == FOLDER or path.parts[-2] == "admin":  # the console only reads
            continue
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        given = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
        given |= {node.value for node in nodes if isinstance(node, ast.Constant)
                  and isinstance(node.value, str)}  # fmt: skip
        yield used, given


@pytest.fixture(scope="module")
def given() -> dict[str, set[str]]:
    """By metric, what its attributes may be called where it is recorded."""
    found: dict[str, set[str]] = {name: set() for name in METRICS}
    for used, names in recorders():
        for constant, metric in constants().items():
            if constant in used:
                found[metric.name] |= names | {""}
    return found


def test_each_area_is_in_the_list() -> None:
    assert {metric.name for metric in constants().values()} == METRICS.keys()
    assert len(constants()) == len(METRICS)  # no name is declared twice


@pytest.mark.parametrize("name", sorted(METRICS))
def test_it_is_recorded_with_every_attribute(name: str, given: dict[str, set[str]]) -> None:
    if name in NOT_YET:
        assert not given[name], f"{name} is recorded now: give it its place in docs/metrics.md"
        return
    assert given[name], f"nobody records {name}"
    assert set(METRICS[name].labels) <= given[name]
