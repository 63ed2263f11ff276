"""Decides when the control plane must be told of findings: when they differ from what it knows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.channel.messages.findings import FindingRecord, FindingsChanged


class FindingsFeed:
    """What the control plane was told last. That findings grow older is no change: it counts on."""

    def __init__(self) -> None:
        self._told: tuple[FindingRecord, ...] | None = None

    def forget(self) -> None:
        """The control plane, or the connection to it, is a new one, and knows nothing."""
        self._told = None

    def changed(self, findings: Sequence[FindingRecord]) -> FindingsChanged | None:
        """Return what the control plane must be told; None if it knows it.

        Args:
            findings: all there are now.
        """
        ageless = tuple(msgspec.structs.replace(each, age_s=0.0) for each in findings)
        if ageless == self._told:
            return None
        self._told = ageless
        return FindingsChanged(tuple(findings))
