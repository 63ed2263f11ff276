from dataclasses import replace

import numpy as np

from loadtest.experiments.performance_delay import (
    QUICK,
    STREAMS,
    THRESHOLD,
    USUAL,
    delay,
    draw,
    pages,
    tables,
)

SMALL = replace(QUICK, quarters=1, windows=100)


def test_a_large_loss_is_found_within_a_thousand_labels():
    for seed in range(3):
        assert delay(STREAMS[0], 0.3, SMALL, seed) <= 1000


def test_no_loss_is_not_found():
    assert delay(STREAMS[0], 0.0, SMALL, seed=1) is None
    assert pages(STREAMS[0], USUAL, SMALL, seed=1) == 0
    assert pages(STREAMS[0], USUAL - 0.3, SMALL, seed=1) == 1


def test_streams_have_the_accuracy_that_they_are_told():
    rng = np.random.default_rng(0)
    for stream in STREAMS:
        rates = stream.rates(rng, USUAL, 2000)
        assert abs(rates.mean() - USUAL) < 0.01
        assert ((rates >= 0) & (rates <= 1)).all()


def test_tables_tell_what_was_never_found(tmp_path):
    found = {
        "size": {"seeds": 2, "quarters": 2, "windows": 100},
        "delays": [{"stream": STREAMS[0].name, "loss": 0.05, "labels": [1200.0, None]}],
        "quiet": [{"stream": STREAMS[0].name, "accuracy": THRESHOLD, "pages": [0, 1]}],
    }
    told = tables(found)
    assert "| independent rows | 5 points | not found | not found | 50% |" in told
    assert "| independent rows | 0.9 | 2 | 0.50 |" in told
    draw(tmp_path / "figure.svg", found)
    assert "<svg" in (tmp_path / "figure.svg").read_text()
