from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from serving.reports.tables import LONGEST, Text, between, items, name, number, table, verdict


def cells(made):
    return [[(c.get("class"), c.text) for c in row] for row in ET.fromstring(made).iter("tr")]


def test_words_stand_left_numbers_right_and_all_is_escaped():
    made = table(["who", "n"], [[Text("<b>"), "5"], [Text("a&b"), "-"]])
    assert cells(made) == [
        [("text", "who"), (None, "n")],
        [("text", "<b>"), (None, "5")],
        [("text", "a&b"), (None, "-")],
    ]


def test_a_table_of_no_rows_has_its_heads():
    assert cells(table(["who", "n"], [])) == [[(None, "who"), (None, "n")]]


@pytest.mark.parametrize(
    ("value", "written"), [(None, "-"), (math.nan, "-"), (0.123456, "0.1235"), (-3.0, "-3")]
)
def test_numbers_have_four_digits(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("ends", "written"), [((None, None), "-"), ((0.1, None), "0.1 … ∞"), ((None, 1), "-∞ … 1")]
)
def test_an_end_that_nothing_bounds_is_infinite(ends, written):
    assert between(*ends) == written


@pytest.mark.parametrize(
    ("judged", "asked", "said"),
    [
        ("beyond", True, ("too much", "bad")),
        ("within", True, ("fine", "good")),
        ("unknown", True, ("unknown: few rows", "unsure")),
        ("unknown", False, ("unknown: few rows", "dim")),
    ],
)
def test_what_nobody_asked_to_be_judged_stands_back(judged, asked, said):
    found = verdict(judged, "few rows", "too much", "fine", asked=asked)
    assert (found, found.mark) == said


def test_a_long_name_is_cut():
    assert name("x" * 100) == "x" * (LONGEST - 1) + "…"
    assert name("y" * LONGEST) == "y" * LONGEST


def test_no_items_are_no_list():
    assert items([]) == ""
    assert items(["a<b"]) == "<ul><li>a&lt;b</li></ul>"
