from __future__ import annotations

import pytest

from serving.errors import NotFound
from serving.monitoring.reports.kept import KeptReports, Planned

NOON = 1_796_040_000.0


@pytest.fixture
def kept(tmp_path):
    return KeptReports(tmp_path / "reports")


def test_the_newest_are_kept_of_each_kind(kept):
    for hour in range(4):
        kept.keep("m", "drift", "html", NOON + 3600 * hour, b"page")
    kept.keep("m", "fairness", "json", NOON, b"{}")
    kept.thin("m", "drift", 2)
    found = [(each.kind, each.time - NOON) for each in kept.listed("m")]
    assert found == [("drift", 10800), ("drift", 7200), ("fairness", 0)]
    assert kept.listed("other") == []


def test_a_report_is_read_by_its_id(kept):
    made = kept.keep("m", "fairness", "json", NOON, b"{}")
    assert kept.read("m", "fairness", made.id) == ("json", b"{}")
    assert made.file.stat().st_mode & 0o077 == 0, "others must not read counts of groups"


@pytest.mark.parametrize("ident", ["", "drift-20261130T120000Z", "../m/schedule", "schedule"])
def test_what_is_not_kept_is_not_found(kept, ident):
    kept.keep("m", "fairness", "html", NOON, b"page")
    kept.save_plan("m", {})
    with pytest.raises(NotFound, match="no report of fairness with id"):
        kept.read("m", "fairness", ident)


def test_other_files_are_no_reports(kept, tmp_path):
    kept.keep("m", "drift", "html", NOON, b"page")
    for name in ("drift-20269999T000000Z.html", "notes-x.html", "drift-20261130T120000Z.new"):
        (tmp_path / "reports" / "m" / name).write_text("x")
    assert len(kept.listed("m")) == 1


def test_a_plan_survives_and_a_damaged_one_begins_anew(kept, tmp_path):
    plan = {"drift": Planned(NOON, NOON - 5, "there are no rows")}
    kept.save_plan("m", plan)
    assert kept.plan("m") == plan
    (tmp_path / "reports" / "m" / "schedule.json").write_text("{")
    assert kept.plan("m") == {}
