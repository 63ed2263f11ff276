"""`vigil backtest` on a model that was built, and a file with a fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli.command import app
from serving.cli.console import OUT
from serving.demo.loans import sample_applicants
from serving.errors import InvalidInput

T0 = 1_767_225_600


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 200)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory, write_loans) -> Path:
    """Five days of applicants; from the third day on incomes are four times as high."""
    rows = sample_applicants(5000, 3)
    rows.inputs["numeric"][2000:, 0] *= 4
    # An hour's rows come at once.
    when = np.arange(5000) // 40 * 3456.0 + T0
    return write_loans(tmp_path_factory.mktemp("data"), rows, when)


def run(demo_root: Path, *arguments: str) -> str:
    command = ["backtest", "loans", "--models", str(demo_root), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_drift_in_a_file_is_told_and_drawn(demo_root, loans, tmp_path):
    out = tmp_path / "page.html"
    arguments = ("--data", str(loans), "--time", "when", "--label-delay", "1h", "--out", str(out))
    said = run(demo_root, *arguments)
    assert "drift of model 'loans'" in said
    assert "5000 rows and 5000 labels from 2026-01-01" in said
    assert "monitors.false_pages_per_quarter allows 1" in said
    assert "income" in out.read_text()
    told = json.loads(run(demo_root, *arguments, "--json"))
    drift = [each for each in told["incidents"] if each["monitor"] == "drift"]
    assert T0 + 2 * 86_400 - 3600 < drift[0]["opened_at"] < T0 + 3.5 * 86_400
    assert told["false_pages"]["stated"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--data"),
        (("--data", "{loans}", "--last", "3d"), "one of the two"),
        (("--data", "{loans}"), "--time"),
        (("--data", "{loans}", "--time", "when", "--label-delay", "soon"), "--label-delay"),
        (("--data", "{loans}", "--time", "when", "--version", "9"), "no version '9'"),
    ],
)
def test_wrong_usage_is_one_sentence(demo_root, loans, arguments, said):
    with pytest.raises(InvalidInput, match=said):
        run(demo_root, *(each.replace("{loans}", str(loans)) for each in arguments))
