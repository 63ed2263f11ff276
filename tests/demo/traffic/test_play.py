"""A day is sent as planned, labels come late and once, and incidents are noted."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.demo.traffic.play import CALM_S, WAIT_S, play
from serving.demo.traffic.schedule import CONCEPT, DRIFT, FAIRNESS, Day
from serving.demo.traffic.sending import MOST_REFUSED
from serving.errors import VigilError

DAY = Day(seconds=24.0, rows_per_s=50.0)  # a second an hour


def opened(stage, at, incident):
    stage.instance.opens.append((at, incident))


def test_all_rows_are_sent_and_each_gets_one_label_two_hours_later(stage):
    record = play(DAY, stage.instance, 1, stage.around)
    loans = [(at, given) for at, model, given in stage.instance.asked if model == "loans"]
    assert sum(given["inputs"][0]["shape"][0] for _, given in loans) == DAY.rows == 1200
    assert sum(each.rows for each in record.sent) == DAY.rows
    times = {given["id"]: at for at, given in loans}
    keys = Counter((label["id"], label["index"]) for _, label in stage.instance.labels)
    assert len(keys) == DAY.rows
    assert set(keys.values()) == {1}
    delays = [at - times[label["id"]] for at, label in stage.instance.labels]
    assert min(delays) >= DAY.label_delay_h - 0.1
    assert max(delays) <= DAY.label_delay_h + DAY.push_every_h + 0.2


def test_the_other_models_get_rows_too(stage):
    play(Day(seconds=24.0, ends=2, planted=()), stage.instance, 1, stage.around)
    asked = Counter(model for _, model, _ in stage.instance.asked)
    assert asked["digits"] == asked["cancer"] > 5


def test_it_is_said_what_is_played_and_what_should_follow(stage):
    play(DAY, stage.instance, 1, stage.around)
    said = "\n".join(stage.said)
    assert stage.said[0].startswith("00:00  traffic as ever")
    for planted in (DRIFT, FAIRNESS, CONCEPT):
        assert f"planted, a {planted.change}: {planted.plays}" in said
        assert planted.expects in said
    assert stage.hours == sorted(stage.hours)


def test_incidents_are_noted_with_the_hour_and_told_once(stage, make_incident):
    drift = make_incident(id="d", cause="drift", severity="info")
    opened(stage, 9.0, drift)
    record = play(DAY, stage.instance, 1, stage.around)
    [seen] = record.seen
    assert 9.0 <= seen.hour <= 9.6
    assert len([line for line in stage.said if "INFO d" in line]) == 1
    assert len([line for line in stage.said if "d, why: concept shift" in line]) == 1


def test_one_that_was_open_before_and_is_not_looked_for_is_none_of_ours(stage, make_incident):
    opened(stage, 0.0, make_incident(id="old", model="cancer"))
    assert play(DAY, stage.instance, 1, stage.around).seen == []


def test_one_that_would_hide_a_planted_one_is_refused_in_words(stage, make_incident):
    opened(stage, 0.0, make_incident(id="old"))
    with pytest.raises(VigilError, match=r"open from before.*old \(performance\).*\.vigil"):
        play(DAY, stage.instance, 1, stage.around)
    assert not stage.instance.asked


def test_what_is_late_is_waited_for_and_no_longer(stage, make_incident):
    day = Day(seconds=24.0, ends=2, planted=())
    play(day, stage.instance, 1, stage.around)
    assert day.last_push + CALM_S <= stage.time < day.last_push + CALM_S + 1
    begun = stage.time
    later = Day(seconds=24.0, begins=23, planted=(CONCEPT,))
    opened(stage, begun + 10.0, make_incident())
    assert play(later, stage.instance, 1, stage.around).seen
    assert stage.time < begun + 12
    stage.instance.opens.clear()
    begun = stage.time
    play(later, stage.instance, 1, stage.around)
    assert stage.time >= begun + WAIT_S


def test_an_answer_of_another_model_is_one_sentence(stage):
    stage.instance.infer = lambda model, body: b"{}"
    with pytest.raises(VigilError, match="is it the demo"):
        play(DAY, stage.instance, 1, stage.around)


def test_labels_that_are_refused_are_pushed_again_with_the_next(stage):
    push, refused = stage.instance.push_labels, []

    def sometimes(model, body):
        if len(refused) < MOST_REFUSED - 1:
            refused.append(body)
            raise VigilError("the monitor is not there; retry later")
        push(model, body)

    stage.instance.push_labels = sometimes
    day = Day(seconds=24.0, rows_per_s=50.0, planted=())
    play(day, stage.instance, 1, stage.around)
    keys = [(label["id"], label["index"]) for _, label in stage.instance.labels]
    assert len(keys) == len(set(keys)) == day.rows


def test_labels_that_are_never_taken_are_an_error(stage):
    def never(model, body):
        raise VigilError("the monitor is not there; retry later")

    stage.instance.push_labels = never
    with pytest.raises(VigilError, match="not there"):
        play(DAY, stage.instance, 1, stage.around)
    assert stage.time < 24
