from serving.monitoring.recorded_clock import RecordedClock


def test_it_stands_still_while_a_message_is_dealt_with():
    clock = RecordedClock(iter([1.0, 2.0]).__next__)
    assert clock() == 1.0
    with clock.stopped(7.0):
        assert (clock(), clock()) == (7.0, 7.0)
    assert clock() == 2.0
