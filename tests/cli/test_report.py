from __future__ import annotations

import json
from typing import Any

import pytest

from serving.cli.report import report
from serving.errors import VigilError

PATH = "/v2/models/m/reports/fairness"


def ask(url: str, **more: Any) -> None:
    given = {"last": None, "since": None, "until": None, "version": None, "out": None}
    report(url=url, model="m", kind="fairness", **{"as_json": False, **given, **more})


def test_the_report_is_written(instance, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ask(instance({PATH + "?format=html&last=7d": (200, b"<html>")}).url, last="7d")
    assert (tmp_path / "m-fairness.html").read_bytes() == b"<html>"
    assert capsys.readouterr().out == "the report of fairness is in m-fairness.html\n"


def test_json_goes_where_it_is_wanted(instance, tmp_path):
    out = tmp_path / "r.json"
    ask(instance({PATH + "?format=json": (200, b"{}")}).url, as_json=True, out=out)
    assert json.loads(out.read_text()) == {}


def test_what_is_refused_is_said_and_nothing_is_written(instance, tmp_path):
    answer = 503, json.dumps({"error": "its fairness is unknown"}).encode()
    out = tmp_path / "r.html"
    with pytest.raises(VigilError, match="its fairness is unknown"):
        ask(instance({PATH + "?format=html": answer}).url, out=out)
    assert not out.exists()


def test_a_file_that_cannot_be_written(instance, tmp_path):
    url = instance({PATH + "?format=html": (200, b"")}).url
    with pytest.raises(VigilError, match="cannot be written: Is a directory"):
        ask(url, out=tmp_path)
