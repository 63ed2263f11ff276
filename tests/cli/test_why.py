"""`vigil why` on a model that was built, and a file in which truths change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from serving.cli.command import app
from serving.cli.console import OUT
from serving.demo.loans import sample_applicants
from serving.errors import VigilError

NUMBERS = ("income", "loan_amount", "term_months", "credit_history_years", "debt_ratio")
T0 = 1_767_225_600


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 300)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of applicants; from the fourth day on those with a car loan get other truths."""
    rows = sample_applicants(6000, 3)
    numbers, words = rows.inputs["numeric"].astype(float), rows.inputs["categorical"]
    truth = rows.y_true.copy()
    turned = (words[:, 0] == b"car") & (np.arange(6000) >= 3000)
    truth[turned] = np.where(truth[turned] == "approved", "rejected", "approved")
    columns = {name: numbers[:, at] for at, name in enumerate(NUMBERS)}
    columns |= {
        "purpose": [each.decode() for each in words[:, 0]],
        "home_ownership": [each.decode() for each in words[:, 1]],
        "y_true": truth,
        "when": np.arange(6000) * 86.4 + T0,
    }
    path = tmp_path_factory.mktemp("data") / "loans.parquet"
    pq.write_table(pa.table(columns), path)
    return path


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
    said = run(demo_root, "--data", str(loans), "--changed-at", "2026-01-04")
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
