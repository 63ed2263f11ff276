from loadtest.stalls import NONE, _table


def test_a_stall_over_the_target_is_marked():
    one = {"p50_ms": 1.0, "connections": 1, "sent_mb": 2.0}
    samples = [
        {"attack": NONE, "p99_ms": 3.0, **one},
        {"attack": "pings", "p99_ms": 2000.0, **one},
        {"attack": NONE, "p99_ms": 5.0, **one},
    ]
    none, pings = _table(samples).rows
    assert none == (NONE, "1.00", "4.0", "5.0", "1", "2.0")
    assert pings[2] == "2000.0 (over the target)"
