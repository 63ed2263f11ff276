from __future__ import annotations

from dataclasses import replace

import pytest

from serving.config.tensor_specs import OutputSpec
from serving.errors import Unsupported
from serving.monitoring.reports.possible import KINDS, impossible, no_log, require

MASK = OutputSpec(name="mask", datatype="FP32", shape=[-1, 8, 8])


def test_a_model_that_has_all_can_have_all(entry):
    assert [impossible(kind, entry, logged=True) for kind in KINDS] == [None] * 4


@pytest.mark.parametrize(
    ("kind", "without", "said"),
    [
        ("fairness", {"fairness": None}, "no section `fairness`"),
        (
            "performance",
            {"outputs": [OutputSpec(name="mask", datatype="FP32", shape=[-1, 8, 8])]},
            "neither classes, numbers nor rankings",
        ),
    ],
)
def test_what_lacks_is_told(entry, kind, without, said):
    raw = entry.config.model_copy(update=without)
    with pytest.raises(Unsupported, match=said):
        require(kind, replace(entry, config=raw))


def test_a_reference_lacks(entry):
    (entry.directory / "reference.parquet").unlink()
    assert "vigil profile" in (impossible("drift", entry, logged=True) or "")
    assert impossible("quality", entry, logged=True) is None


def test_without_a_log_only_columns_are_reported_on(entry):
    found = {kind: impossible(kind, entry, logged=False) for kind in KINDS}
    assert [kind for kind in KINDS if found[kind] is None] == ["drift", "quality"]
    assert found["fairness"] == no_log("fairness")
    assert "without last, since and until" in no_log("drift")
