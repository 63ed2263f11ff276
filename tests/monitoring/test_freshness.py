import json

from serving.monitoring.freshness import Freshness


def test_stale_after_long_without_rows_until_the_next_window():
    fresh = Freshness(100)
    assert fresh.refresh(0) == set()
    fresh.fed("drift", 10)
    fresh.fed("fairness", 60)
    assert fresh.refresh(110) == set()
    assert fresh.refresh(111) == {"drift"}
    assert fresh.idle_s("drift", 111) == 101
    fresh.fed("drift", 112)  # one row says nothing about what was found
    assert fresh.refresh(113) == {"drift"}
    fresh.judged("drift")
    assert fresh.refresh(114) == set()


def test_a_pause_that_nobody_asked_during_counts():
    fresh = Freshness(100)
    fresh.fed("drift", 0)
    fresh.fed("drift", 500)
    assert fresh.refresh(501) == {"drift"}


def test_the_pause_goes_on_over_a_restart():
    fresh = Freshness(100)
    fresh.fed("drift", 0)
    fresh.fed("performance", 150)
    fresh.refresh(151)
    other = Freshness(100)
    other.restore(json.loads(json.dumps(fresh.state())))
    assert other.refresh(200) == {"drift"}
    assert other.refresh(251) == {"drift", "performance"}


def test_what_is_judged_by_the_clock_is_stale_when_the_clock_judges_no_more():
    fresh = Freshness(100)
    fresh.fed("silence", 0)
    assert fresh.refresh(150) == {"silence"}
    fresh.judged_by_clock("silence", 160)
    assert fresh.refresh(250) == set()
    assert fresh.idle_s("silence", 250) == 250
    other = Freshness(100)
    other.restore(json.loads(json.dumps(fresh.state())))
    assert other.refresh(260) == set()
    assert other.refresh(261) == {"silence"}


def test_the_clock_alone_begins_nothing():
    fresh = Freshness(100)
    fresh.judged_by_clock("silence", 0)
    assert not fresh.begun
    assert fresh.refresh(101) == {"silence"}


def test_a_state_from_before_the_clock_judged_is_taken():
    fresh = Freshness(100)
    fresh.restore({"fed": {"drift": 0}, "stale": []})
    assert fresh.refresh(101) == {"drift"}


def test_what_never_had_rows_is_not_stale():
    assert Freshness(1).refresh(1e9) == set()
    assert Freshness(1).idle_s("drift", 1e9) == 0
