"""Decides when the control plane must be told of findings: when they differ from what it knows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.channel.messages.findings import FindingRecord, FindingsChanged, Unjudged


class FindingsFeed:
    """What the control plane was told last. That findings grow older is no change: it counts on."""

    def __init__(self) -> None:
        self._told: tuple[tuple[FindingRecord, ...], tuple[Unjudged, ...]] | None = None

    def forget(self) -> None:
        """The control plane, or the connection to it, is a new one, and knows nothing."""
        self._told = None

    def changed(
        self,
        findings: Sequence[FindingRecord],
        passed: Sequence[FindingRecord] = (),
        unjudged: Sequence[Unjudged] = (),
    ) -> FindingsChanged | None:
        """Return what the control plane must be told; None if it knows it.

        Args:
            findings: all there are now.
            passed: breaches of windows that others have followed since the last call.
            unjudged: what has no findings now.
        """
        ageless = tuple(msgspec.structs.replace(each, age_s=0.0) for each in findings)
        now = ageless, tuple(unjudged)
        if now == self._told and not passed:
            return None
        self._told = now
        return FindingsChanged(tuple(findings), tuple(passed), tuple(unjudged))
