from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from serving.reports.answers import Bin, Histogram
from serving.reports.charts import bars, calibration


def numbers(svg, *names):
    return [float(each.get(name)) for each in svg.iter() for name in names if each.get(name)]


@pytest.mark.parametrize(
    ("bins", "of_what", "ends"),
    [
        ([Bin(0.1, 0.2, 0.05, 0.4, 30), Bin(0.9, 0.8, 0.6, 0.95, 9)], "probability of <b>", "0 1"),
        ([Bin(-5, -4, -7, -1, 30), Bin(100, 90, 80, 120, 9)], "answer", "-7 120"),
        ([Bin(3, 3, 3, 3, 1)], "answer", "3 4"),
    ],
)
def test_a_curve_lies_inside_its_picture(bins, of_what, ends):
    svg = ET.fromstring(calibration(bins, of_what))
    assert all(0 <= each <= 400 for each in numbers(svg, "cx", "cy", "x1", "x2", "y1", "y2"))
    assert len(list(svg.iter("circle"))) == len(bins)
    texts = [each.text for each in svg.iter("text")]
    assert of_what in texts
    low, high = ends.split()
    assert {low, high} <= set(texts)


@pytest.mark.parametrize(("edges", "zero"), [((-1.0, 0.0, 1.0, 2.0), 1), ((1.0, 2.0, 3.0, 4.0), 0)])
def test_bars_are_as_high_as_their_counts_and_zero_is_marked(edges, zero):
    svg = ET.fromstring(bars(Histogram(edges, (4, 0, 2))))
    heights = [float(each.get("height")) for each in svg.iter("rect")]
    assert heights == [160, 0, 80]
    assert len([each for each in svg.iter("line") if each.get("class") == "even"]) == zero


def test_no_counts_at_all_are_drawn_flat():
    svg = ET.fromstring(bars(Histogram((0.0, 1.0), (0,))))
    assert [float(each.get("height")) for each in svg.iter("rect")] == [0]
