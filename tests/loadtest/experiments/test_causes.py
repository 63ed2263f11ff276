import pytest

from loadtest.experiments.causes import CAUSES, Size, case, explained, tables

SMALL = Size(cases=1, rows=4000)


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("seed", range(3))
def test_a_cause_raises_the_loss_and_nothing_does_not(cause, seed):
    planted, calm = case(cause, seed, SMALL), case(None, seed, SMALL)
    assert planted.after.mean() - planted.before.mean() > 0.03
    assert abs(calm.after.mean() - calm.before.mean()) < 0.03
    assert planted.feature in planted.now
    strange = (planted.now["region"] == "overseas").any() or any(
        planted.now[name].max() > 6 for name in planted.now if name.startswith("x")
    )
    assert strange == (cause == "unseen region")


def test_what_is_told_is_kept_with_what_was_planted():
    found = explained("unseen region", 0, Size(cases=1, rows=1000))
    assert found["planted"] == "unseen region"
    assert sum(found["parts"].values()) == pytest.approx(found["change"], abs=1e-3)


def test_tables_count_what_was_told():
    def told(planted, said, first="x0"):
        return {"planted": planted, "told": said, "feature": "x0", "first": first}

    shown = tables(
        {
            "size": {"cases": 1, "rows": 100},
            "cases": [
                told("covariate shift", "covariate shift"),
                told("concept shift", None, None),
                told("unseen region", "concept shift", "x1"),
                told(None, None, None),
            ],
        }
    )
    assert "| covariate shift | 1 | 0 | 0 | 0 | 1 |" in shown
    assert "| concept shift | 0 | 0 | 0 | 1 | 0 |" in shown
    assert "| nothing | 0 | 0 | 0 | 1 | - |" in shown
    assert "right in 33.3% of 3 planted cases" in shown
