"""The picture is XML that holds what happened, whatever incidents quote."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from serving.demo.traffic.picture import picture
from serving.demo.traffic.play import play
from serving.demo.traffic.record import Record
from serving.demo.traffic.schedule import Day

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn):
    return ["".join(each.itertext()) for each in drawn.iter(f"{SVG}text")]


def test_a_day_is_drawn_with_its_changes_and_incidents(stage, make_incident):
    stage.instance.opens.append((19.0, make_incident()))
    record = play(Day(seconds=24.0, rows_per_s=50.0), stage.instance, 1, stage.around)
    drawn = ET.fromstring(picture(record))
    said = texts(drawn)
    assert {"planted", "drift", "fairness gap", "concept change"} <= set(said)
    assert any("accuracy is 0.6, below <0.9>" in each for each in said)
    assert any(each.startswith("page at 19:") for each in said)
    assert any(each.startswith("why: concept shift") for each in said)
    lines = drawn.findall(f"{SVG}polyline")
    assert len(lines) == 5  # rows, long terms, women and men, right answers
    assert all(len(each.attrib["points"].split()) == 48 for each in lines)


def test_the_gap_opens_between_the_lines(stage):
    record = play(Day(seconds=24.0, rows_per_s=400.0), stage.instance, 1, stage.around)
    lines = ET.fromstring(picture(record)).findall(f"{SVG}polyline")
    heights = [[float(p.split(",")[1]) for p in each.attrib["points"].split()] for each in lines]
    long_terms = heights[1]
    assert max(long_terms[17:23]) < min(long_terms[:15])  # higher up is less


def test_nothing_at_all_is_drawn_too():
    said = texts(ET.fromstring(picture(Record(Day(planted=()), 7))))
    assert said[-1] == "nothing"
