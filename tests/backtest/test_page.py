"""The page is whole HTML whatever is in it, and shows what was off before what was not."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from serving.backtest.chart import Axis, lanes, line
from serving.backtest.outcome import Figure, Outcome, Point
from serving.backtest.page import page

DAY = 86_400.0
NASTY = "<script>alert('x')</script>&\"'"


def figure(metric="accuracy", breaches=0, values=(0.9, 0.8), threshold=0.7, **more):
    points = tuple(
        Point(at * DAY, value, more.get("low"), more.get("high"), bool(breaches))
        for at, value in enumerate(values)
    )
    return Figure("1", "performance", metric, "", "", threshold, points, breaches)


def outcome(incidents=(), figures=(), notes=()):
    return Outcome(
        model=NASTY, versions=("1",), rows=3, labels=1, first=0.0, last=10 * DAY,
        incidents=tuple(incidents), figures=tuple(figures), notes=tuple(notes),
    )  # fmt: skip


def test_nothing_in_it_is_markup(make_incident):
    one = make_incident(severity="page", summary=NASTY, cause=NASTY, id="7")
    text = page(outcome([one], [figure(NASTY, 1)], [NASTY]), 1)
    assert "<script" not in text
    assert text.count("alert(") >= 4


def test_what_was_off_comes_first(make_incident):
    text = page(outcome([], [figure("calm"), figure("off", 3), figure("worse", 9)]), 1)
    assert re.findall(r"<h3>performance: (\w+)", text) == ["worse", "off", "calm"]


@pytest.mark.parametrize(
    "drawn",
    [
        figure(),
        figure(values=(0.5,), threshold=None),
        figure(values=()),
        figure(values=(None, 0.3)),
        figure(values=(0.0, 0.0), threshold=0.0),
        figure(values=(1e300, -1e300)),
        figure(low=0.1, high=0.95),
    ],
)
def test_lines_stay_inside_their_picture(drawn):
    svg = ET.fromstring(line(drawn, Axis(0.0, DAY)))
    for each in svg.iter("polyline"):
        for pair in (each.get("points") or "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 960
            assert 0 <= y <= 120
    known = [each for each in drawn.points if each.value is not None]
    dots = [each.get("class") for each in svg.iter("circle")]
    assert dots == ["dot"] * (len(known) == 1), "a single point is no line, and none is off"


def test_an_incident_lies_from_its_begin_to_its_end(make_incident):
    axis = Axis(0.0, 10 * DAY)
    over = make_incident(cause="a", opened_at=2 * DAY, closed_at=7 * DAY, state="resolved")
    still = make_incident(cause="b", opened_at=9 * DAY)
    boxes = list(ET.fromstring(lanes([over, still], axis)).iter("rect"))
    ends = [(float(each.get("x") or 0), float(each.get("width") or 0)) for each in boxes]
    assert ends[0] == pytest.approx((axis.x(2 * DAY), axis.x(7 * DAY) - axis.x(2 * DAY)), abs=0.1)
    assert ends[1] == pytest.approx((axis.x(9 * DAY), axis.x(10 * DAY) - axis.x(9 * DAY)), abs=0.1)
    assert boxes[0].get("y") != boxes[1].get("y")


@pytest.mark.parametrize("days", [0.001, 0.1, 1, 7, 30, 90, 4000])
def test_marks_are_few_and_in_order(days):
    ticks = list(Axis(1e9, 1e9 + days * DAY).ticks())
    assert 1 <= len(ticks) <= 12
    assert [x for x, _ in ticks] == sorted(x for x, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
