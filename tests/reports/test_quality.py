"""Which columns are summarised, and why others are not; test_making asks Evidently itself."""

from __future__ import annotations

import numpy as np
import pytest

from serving.monitoring.reports.drift import MAX_COLUMNS, ReportError
from serving.reports import quality as module
from serving.reports.quality import quality


class Snapshot:
    def json(self):
        return '{"of": "evidently"}'


@pytest.fixture
def seen(monkeypatch):
    found = []

    def summary(current, reference):
        found.append((list(current), reference and list(reference)))
        return Snapshot()

    monkeypatch.setattr(module, "_summary", summary)
    return found


def asked(config, file, columns):
    return module.msgspec.json.decode(quality("m", "rows", file, config, columns, "json"))


def test_without_a_reference_all_columns_with_values_are_there(config, tmp_path, seen):
    columns = {
        "a": np.array([1.0, np.inf]),
        "none": np.array([np.nan, np.inf]),
        "w": np.array(["x"]),
    }
    found = asked(config, tmp_path / "none", columns)
    assert seen == [(["a", "w"], None)]
    assert found["left_out"] == {"none": "no row has a value"}


def test_beside_a_reference_only_what_it_has(config, version, seen):
    columns = {"income": np.ones(9), "purpose": np.array(["car"] * 9), "new": np.ones(9)}
    found = asked(config, version / "reference.parquet", columns)
    assert seen == [(["income", "purpose"], ["income", "purpose"])]
    assert found["left_out"] == {"new": "not in the reference"}


def test_of_many_columns_the_first_are_there(config, tmp_path, seen):
    columns = {f"c{at}": np.ones(3) for at in range(MAX_COLUMNS + 2)}
    found = asked(config, tmp_path / "none", columns)
    assert set(found["left_out"].values()) == {f"beyond the first {MAX_COLUMNS} columns"}
    assert len(found["left_out"]) == 2


def test_no_values_at_all_are_nothing_to_summarise(config, tmp_path, seen):
    with pytest.raises(ReportError, match="no column of the rows has a value"):
        asked(config, tmp_path / "none", {"a": np.full(3, np.nan)})
