"""How many predictions of each group have a label, and how long labels of a group take.

A group is named where the configuration names all of its attribute: a sensitive input whose feature
has `categories`. All others are one group, `other`, so that clients cannot make series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from monitors.fairness.group_bounds import SMALLEST_GROUP
from monitors.performance.group_values import Groups
from monitors.rows import Rows
from serving.config import ModelConfig

OTHER: Final = "other"


class GroupCount:
    """How many rows of a group were predicted and have a label.

    Attributes:
        attribute, group: which one.
        predicted, labelled: rows.
    """

    __slots__ = ("attribute", "group", "labelled", "predicted")

    def __init__(self, attribute: str, group: str) -> None:
        self.attribute, self.group = attribute, group
        self.predicted = self.labelled = 0

    @property
    def shown(self) -> bool:
        """Whether the group is so large that its figures say nothing about a person."""
        return self.predicted >= SMALLEST_GROUP


class GroupCoverage:
    """Counts by group of the sensitive attributes that came with requests.

    Args:
        attributes: the known groups by name of an attribute.
    """

    def __init__(self, attributes: Mapping[str, Sequence[str]]) -> None:
        self._counts = {
            attribute: {group: GroupCount(attribute, group) for group in (*groups, OTHER)}
            for attribute, groups in attributes.items()
        }

    def __iter__(self) -> Iterator[GroupCount]:
        """Yield the counts of all groups."""
        for groups in self._counts.values():
            yield from groups.values()

    def predicted(self, rows: Rows) -> None:
        """Count predictions."""
        for attribute, counts in self._counts.items():
            if attribute not in rows.groups:
                continue
            for group, number in Counter(rows.groups[attribute].tolist()).items():
                if group is not None:
                    (counts.get(group) or counts[OTHER]).predicted += number

    def of(self, groups: Groups) -> list[GroupCount]:
        """Return the counts that a row with these values is in; none of what nobody knows."""
        if not groups:
            return []
        return [
            counts.get(value) or counts[OTHER]
            for attribute, counts in self._counts.items()
            if (value := groups.get(attribute)) is not None
        ]

    def state(self) -> dict[str, Any]:
        """Return the counts by attribute and group as JSON values."""
        return {
            attribute: {group: [each.predicted, each.labelled] for group, each in counts.items()}
            for attribute, counts in self._counts.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; groups that are not told any more are left out."""
        for attribute, counts in self._counts.items():
            saved = state.get(attribute, {})
            for group, each in counts.items():
                each.predicted, each.labelled = saved.get(group, (0, 0))


def known_groups(config: ModelConfig) -> dict[str, Sequence[str]]:
    """Return the groups of each sensitive attribute of `fairness`; none where they are not told."""
    told = {
        feature.name: feature.categories or ()
        for spec in config.inputs
        if spec.sensitive
        for feature in spec.features or ()
    }
    sensitive = config.fairness.sensitive if config.fairness else ()
    return {attribute: told.get(attribute, ()) for attribute in sensitive}
