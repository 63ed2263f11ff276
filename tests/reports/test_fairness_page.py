from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from serving.reports.fairness import fairness
from serving.reports.fairness_page import MOST_PAIRS, fairness_page, headline


@pytest.fixture
def found(rows, config):
    return fairness(rows, config)


def page(found, frame=None, notes=()):
    return fairness_page("Fairness of m", "4000 rows.", notes, found, frame)


def test_what_is_judged_comes_before_what_nobody_asked_for(found):
    made = page(found)
    judged, rest = made.split("<details>")
    assert "equal_opportunity_difference" in judged
    assert "equalized_odds_ratio" not in judged
    assert "12 comparisons for which no tolerance is set" in rest


def test_without_any_tolerance_all_is_open_and_nothing_is_called_fine(found):
    bare = changed(
        found, disparities=tuple(changed(each, tolerated=None) for each in found.disparities)
    )
    assert "<details open>" in page(bare)
    assert "this page does not say that groups are treated alike" in headline(bare)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (("within",), "rows together the one comparison that has a tolerance is within it."),
        (("within", "within"), "together all 2 comparisons that have a tolerance are within it."),
        (("within", "unknown"), "Unknown: 1 of 2 comparisons that have a tolerance."),
        (("beyond", "unknown"), "Beyond what is tolerated: demographic_parity_ratio by sex."),
    ],
)
def test_the_headline_says_the_worst(found, verdicts, said):
    judged = [each for each in found.disparities if each.tolerated is not None][1:]
    some = tuple(changed(e, verdict=v) for e, v in zip(judged, verdicts, strict=False))
    assert len(some) == len(verdicts)
    assert said in headline(changed(found, disparities=some))


def test_small_groups_are_hidden_and_their_number_told(rows, config):
    sex = rows.groups["sex"].copy()
    sex[:5] = "few people"
    made = page(fairness(replace(rows, groups={"sex": sex}), config))
    assert "few people" not in made
    assert "2 more groups not shown" in made, "one more, or the total would tell the small one"


def test_of_many_pairs_the_worst_are_shown(rows, config):
    group = np.array([f"g{at % 12}" for at in range(rows.rows)], object)
    made = page(fairness(replace(rows, groups={"sex": group}), config))
    judged = made.split("<details>")[0]
    assert judged.count("<tr>") == 1 + 12 + 1 + MOST_PAIRS
    assert f"{3 * 66 - MOST_PAIRS} more are in the JSON." in judged


def test_fairlearn_is_quoted_where_it_is_installed(found):
    assert "fairlearn is not installed here" in page(found)
    assert "There is nothing to compare: no labelled rows" in page(found, {})
    assert "0.8765" in page(found, {"sex": {"accuracy ratio": 0.87654}})
