"""Bursts of rare shares."""

import pytest

from loadtest.experiments import rare_shares
from loadtest.experiments.rare_shares import Bursts, told


def test_alarms_are_counted_by_day(monkeypatch):
    monkeypatch.setattr(rare_shares, "DAYS", 1)
    monkeypatch.setattr(rare_shares, "STREAMS", 20)
    calm = told(Bursts(0.001, 0.001), 1)
    assert calm["by_day"] == [0]
    assert calm["stated"] == pytest.approx(12 / 90)
    monkeypatch.setattr(rare_shares, "PART", 0.5)
    (began,) = told(Bursts(0.001, 0.9, 30), 1)["by_day"]
    assert began >= 1


def test_a_name_says_what_comes_and_for_how_long():
    assert Bursts(0.001, 0.02, 6).name == "0.10%, in bursts of 6 windows 2.0%"
