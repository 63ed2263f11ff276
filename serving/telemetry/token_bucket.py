"""How often something may happen: a few times at once, then once in an interval."""

from __future__ import annotations


class TokenBucket:
    """A token bucket, which is full at first.

    Args:
        interval_s: seconds until there is one more token, above 0.
        most: tokens that it holds at the most, 1 or more.
        now: monotonic seconds.
    """

    __slots__ = ("_as_of", "_interval_s", "_left", "_most")

    def __init__(self, interval_s: float, most: float, now: float) -> None:
        if not (interval_s > 0 and most >= 1):
            raise ValueError(f"no token bucket has {most} tokens and one more in {interval_s} s")
        self._interval_s, self._most = interval_s, most
        self._left, self._as_of = most, now

    def take(self, now: float, spare: float = 0.0) -> bool:
        """Take a token, if there is one.

        Args:
            now: monotonic seconds.
            spare: tokens that others may take must be left behind it.
        """
        earned = (now - self._as_of) / self._interval_s
        self._left, self._as_of = min(self._left + earned, self._most), now
        if self._left < 1 + spare:
            return False
        self._left -= 1
        return True
