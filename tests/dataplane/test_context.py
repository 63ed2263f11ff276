"""What a request brings beside its content."""

from __future__ import annotations

import pytest

from serving.dataplane.context import NO_CONTEXT, RequestContext


def test_time_left_counts_from_now() -> None:
    assert NO_CONTEXT.time_left(5.0) is None
    assert RequestContext(deadline=7.5).time_left(5.0) == 2.5
    assert RequestContext(deadline=4.0).time_left(5.0) == -1.0


def test_nobody_can_change_what_others_share() -> None:
    with pytest.raises(AttributeError):
        NO_CONTEXT.client = "somebody"  # type: ignore[misc]
