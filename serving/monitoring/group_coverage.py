"""How many predictions of each group have a label, and how long labels of a group take.

A group is named where the configuration names all of its attribute: a sensitive input whose feature
has `categories`. All others are one group, `other`, so that clients cannot make series. Counts
begin with the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from monitors.fairness.group_bounds import SMALLEST_GROUP
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

    def predicted(self, rows: Rows) -> list[tuple[GroupCount, ...]] | None:
        """Count predictions; returns the counts that each row is in, None where no row is."""
        named = [(counts, rows.groups[name]) for name, counts in self._counts.items()
                 if name in rows.groups]  # fmt: skip
        if not named:
            return None
        found = []
        for at in range(rows.n):
            of_row = tuple(
                counts.get(values[at]) or counts[OTHER]
                for counts, values in named
                if values[at] is not None
            )
            for count in of_row:
                count.predicted += 1
            found.append(of_row)
        return found


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
