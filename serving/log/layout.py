"""Where everything stands in a log.

    <url>/predictions/model=M/version=V/date=YYYY-MM-DD/part-<uuid7>.parquet
    <url>/sensitive/…                                                        the same, mode 0600
    <url>/labels/…                                                           see `label_rows`
    <url>/index/<dataset>/…/part-<uuid7>.ids                                 see `id_index`
    <url>/index/predictions/…/part-<uuid7>.predicted                         see `predicted`
    <spool>/<writer>/<dataset>/…/<uuid7>.arrows                              not yet rolled

A part has the UUIDv7 of the stream that it was made from: that is how a reader sees that a stream
and a part hold the same rows, and how rolling a stream twice gives one part.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote

Dataset = Literal["predictions", "sensitive", "labels"]
DATASETS: Final[tuple[Dataset, ...]] = ("predictions", "sensitive", "labels")


class Partition(NamedTuple):
    """The rows of one version on one day (UTC); of labels, the day on which they came."""

    model: str
    version: str
    day: str

    @property
    def folder(self) -> str:
        """Return its folder, as Hive names it."""
        model, version = quote(self.model, safe=""), quote(self.version, safe="")
        return f"model={model}/version={version}/date={self.day}"


def day_of(seconds: float) -> str:
    """Return the day (UTC) of a time since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def partition_of(folder: str) -> Partition | None:
    """Return what `Partition.folder` made a folder from; None when it did not."""
    pairs = [part.partition("=") for part in folder.split("/")]
    if [key for key, _, _ in pairs] != ["model", "version", "date"]:
        return None
    model, version, day = (unquote(value) for _, _, value in pairs)
    try:
        date.fromisoformat(day)
    except ValueError:
        return None
    return Partition(model, version, day)


def model_of(folder: str) -> str:
    """Return the model whose rows are in the folder of a stream or a part."""
    partition = partition_of(folder)
    assert partition is not None, "streams and parts are found by it"
    return partition.model


def model_folder(model: str) -> str:
    """Return the folder of all rows of a model."""
    return f"model={quote(model, safe='')}"


def part_path(dataset: Dataset, folder: str, name: str) -> str:
    """Return the path of the part named `name`, a UUIDv7, within a log."""
    return f"{dataset}/{folder}/part-{name}.parquet"


def index_path(dataset: Dataset, folder: str, name: str) -> str:
    """Return the path of the index of that part."""
    return f"index/{dataset}/{folder}/part-{name}.ids"


def predicted_path(dataset: Dataset, folder: str, name: str) -> str:
    """Return the path of what labels need of that part."""
    return f"index/{dataset}/{folder}/part-{name}.predicted"


class Part(NamedTuple):
    """A Parquet file of a log: its dataset, folder within it, name (a UUIDv7) and size in bytes."""

    dataset: Dataset
    folder: str
    name: str
    size: int

    @property
    def path(self) -> str:
        """Its path within the log."""
        return part_path(self.dataset, self.folder, self.name)

    @property
    def ids(self) -> str:
        """The path of its index."""
        return index_path(self.dataset, self.folder, self.name)

    @property
    def predicted(self) -> str:
        """The path of what labels need of it; a part without predictions has no such file."""
        return predicted_path(self.dataset, self.folder, self.name)

    @property
    def beside(self) -> tuple[str, str]:
        """The paths of all that is made from it and goes with it."""
        return self.ids, self.predicted


def part_of(path: str, size: int) -> Part | None:
    """Return the part at a path within the log; None when it is none."""
    dataset, _, rest = path.partition("/")
    folder, _, file = rest.rpartition("/")
    name = file.removeprefix("part-").removesuffix(".parquet")
    if f"part-{name}.parquet" != file or partition_of(folder) is None:
        return None
    for known in DATASETS:
        if dataset == known:
            return Part(known, folder, name, size)
    return None
