"""Which files of a log are old or too many, and are deleted; always whole ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serving.log.layout import DATASETS, Dataset, Part, part_of, partition_of
from serving.log.store import Store


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, in days, and how many bytes of files in all."""

    days: float
    sensitive_days: float
    max_bytes: float

    def days_of(self, dataset: Dataset) -> float:
        """Return the days that rows of a dataset are kept."""
        return self.sensitive_days if dataset == "sensitive" else self.days


def all_parts(store: Store, datasets: Iterable[Dataset] = DATASETS, below: str = "") -> list[Part]:
    """Return the parts of a log, oldest first.

    Args:
        below: only those in this folder of their dataset.

    Raises:
        OSError: the store cannot be reached.
    """
    found = [
        part
        for dataset in datasets
        for path, size in store.files(f"{dataset}/{below}".rstrip("/"))
        if (part := part_of(path, size)) is not None
    ]
    return sorted(found, key=lambda part: part.name)


def expired(parts: Sequence[Part], retention: Retention, now: datetime) -> list[Part]:
    """Return the parts to delete, from `parts` with the oldest first.

    A part is too old when the whole of its day is. Beyond the size the oldest ones go.
    """
    old = [part for part in parts if _ended(part) + timedelta(retention.days_of(part[0])) <= now]
    gone = set(old)
    excess = sum(part.size for part in parts if part not in gone) - retention.max_bytes
    for part in parts:
        if excess <= 0:
            break
        if part not in gone:
            old.append(part)
            excess -= part.size
    return old


def retain(store: Store, retention: Retention, now: datetime) -> int:
    """Delete what is expired; return how many parts that were.

    Raises:
        OSError: the store cannot be reached; some may be deleted.
    """
    indexes = dict(store.files("index"))
    parts = [
        part._replace(size=part.size + sum(indexes.get(path, 0) for path in part.beside))
        for part in all_parts(store)
    ]
    gone = expired(parts, retention, now)
    for part in gone:
        store.delete(part.path)
        for path in part.beside:
            store.delete(path)
    return len(gone)


def _ended(part: Part) -> datetime:
    """Return when the day of a part ended."""
    partition = partition_of(part.folder)
    assert partition is not None, "part_of has checked it"
    return datetime.fromisoformat(partition.day).replace(tzinfo=UTC) + timedelta(days=1)
