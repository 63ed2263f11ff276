"""From a log that was really written to a page: nothing in it is markup, nothing is left unsaid."""

from __future__ import annotations

import json
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from serving.errors import Unsupported
from serving.reports.making import NothingToReport, make

NASTY = "<script>alert('x')</script>&\"'"
NOON = 1_796_040_000.0

pytestmark = pytest.mark.timeout(240)  # Evidently takes long to import


def made(job, recent=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the process that does nothing else
        return make(job, recent or {}).decode()


def test_performance_from_the_log(logged, make_job, rows):
    logged(rows)
    found = json.loads(made(make_job("performance", format="json")))
    assert (found["rows"], found["labelled"]) == (rows.rows, len(rows.labels))
    right = (rows.predicted[rows.labelled] == rows.labels).mean()
    assert found["overall"][0]["value"] == pytest.approx(right)
    page = made(make_job("performance"))
    assert "Beyond its threshold: log_loss. Unknown: accuracy." in page
    assert page.count("<svg") == 9
    assert "Confusion matrix" in page


def test_fairness_from_the_log(logged, make_job, rows):
    logged(rows)
    found = json.loads(made(make_job("fairness", format="json")))
    assert found["summary"].endswith("equal_opportunity_difference by sex.")
    assert {each["group"] for each in found["groups"]} == {"F", "M"}
    assert found["fairlearn"]["sex"]["selection_rate ratio"] < 0.8


@pytest.mark.parametrize("kind", ["fairness", "performance"])
def test_nothing_that_clients_send_is_markup(logged, make_job, rows, kind):
    groups = np.where(rows.groups["sex"] == "F", NASTY, rows.groups["sex"])
    logged(replace(rows, groups={"sex": groups}))
    page = made(make_job(kind))
    assert "<script" not in page
    assert ("alert(" in page) == (kind == "fairness")
    body = page[page.index("<body") :].removesuffix("</html>\n")
    ET.fromstring(body)


def test_only_rows_of_the_time_are_looked_at(logged, make_job, rows):
    logged(rows)
    job = make_job("performance", format="json", since=NOON + 600 * 60, until=NOON + 1000 * 60)
    assert json.loads(made(job))["rows"] == 400


def test_no_more_rows_than_the_bound_and_the_page_says_so(logged, make_job, rows, monkeypatch):
    monkeypatch.setattr("serving.reports.making.most_rows", lambda config: 500)
    logged(rows)
    found = json.loads(made(make_job("fairness", format="json")))
    assert found["rows"] == 500
    assert "only the newest 500 rows are looked at: there are more" in found["notes"]
    assert sum(each["rows"] for each in found["groups"]) == 500


@pytest.mark.parametrize("kind", ["drift", "performance", "fairness", "quality"])
def test_an_empty_log_is_not_fine(make_job, kind, tmp_path):
    (tmp_path / "log").mkdir()
    with pytest.raises(NothingToReport, match="the log has no answers of model 'loans'"):
        made(make_job(kind))


def test_without_labels_performance_is_unknown(logged, make_job, make_rows):
    rows = make_rows(300)
    logged(replace(rows, labelled=np.zeros(300, bool), labels=np.zeros(0, int)))
    with pytest.raises(NothingToReport, match=r"no label of the 300 rows .* is unknown; push lab"):
        made(make_job("performance"))


def test_without_groups_fairness_is_unknown(logged, make_job, make_rows):
    rows = make_rows(300)
    logged(replace(rows, groups={"sex": np.full(300, None, object)}))
    with pytest.raises(NothingToReport, match="no group of the 300 rows"):
        made(make_job("fairness"))


def test_a_model_without_the_section_is_told_what_to_change(make_job, config):
    raw = config.model_copy(update={"fairness": None}).model_dump_json()
    with pytest.raises(Unsupported, match=r"no section `fairness` in its model\.yaml"):
        made(make_job("fairness", config=raw))


@pytest.mark.parametrize("kind", ["drift", "quality"])
def test_columns_of_the_log_are_summarised_and_harmless(logged, make_job, rows, kind):
    purpose = rows.columns["purpose"].copy()
    purpose[::3] = NASTY.encode()
    logged(replace(rows, columns={**rows.columns, "purpose": purpose}))
    page = made(make_job(kind))
    assert "4000 logged rows from 2026-11-30 12:00 UTC" in page
    assert NASTY not in page
    found = json.loads(made(make_job(kind, format="json")))
    assert found["left_out"] == {}


def test_a_summary_of_recent_rows_needs_no_log(make_job, rows):
    columns = {**rows.columns, "debt": np.full(rows.rows, np.nan)}
    found = json.loads(made(make_job("quality", format="json", url=""), columns))
    assert found["rows"] == rows.rows
    assert found["left_out"] == {"debt": "no row has a value"}
