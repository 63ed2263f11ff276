"""`vigil why` on a model that was built, and a file in which truths change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli.command import app
from serving.cli.console import OUT
from serving.demo.loans import sample_applicants
from serving.errors import VigilError

T0 = 1_767_225_600


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 300)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory, write_loans) -> Path:
    """Six days of applicants. From the fourth day on those with a car loan get other truths; so do
    women who own their home, on all days."""
    rows = sample_applicants(6000, 3)
    car, own = (
        rows.inputs["categorical"][:, 0] == b"car",
        rows.inputs["categorical"][:, 1] == b"own",
    )
    turned = (car & (np.arange(6000) >= 3000)) ^ (own & (rows.sensitive["sex"] == "F"))
    truth = rows.y_true
    truth[turned] = np.where(truth[turned] == "approved", "rejected", "approved")
    when = np.arange(6000) * 86.4 + T0
    return write_loans(tmp_path_factory.mktemp("data"), rows, when)


def run(demo_root: Path, *arguments: str) -> str:
    command = ["why", "loans", "--models", str(demo_root), "--time", "when", *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_other_truths_are_a_concept_shift_where_they_are(demo_root, loans):
    told = json.loads(run(demo_root, "--data", str(loans), "--json"))
    assert told["cause"] == "concept shift"
    assert next(iter(told["features"])) == "purpose"
    worst = told["slices"][0]
    assert worst["confirmed"]
    assert "purpose = car" in worst["conditions"]
    (gap,) = told["gaps"]
    assert gap["attribute"] == "sex"
    assert gap["slices"][0]["confirmed"]
    assert "home_ownership = own" in gap["slices"][0]["conditions"]
    said = run(demo_root, "--data", str(loans), "--changed-at", "2026-01-04")
    assert "error rate of sex" in said
    assert "concept shift" in said
    assert "purpose = car" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--changed-at", "2027-01-01"), "--changed-at is not between"),
        (("--changed-at", "once"), "--changed-at 'once' is no time"),
        (("--label", "income"), "column 'income' holds .* a class name"),
    ],
)
def test_wrong_usage_is_one_sentence(demo_root, loans, arguments, said):
    with pytest.raises(VigilError, match=said):
        run(demo_root, "--data", str(loans), *arguments)
