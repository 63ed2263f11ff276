"""What the monitor hands to the process that looks for a cause."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from serving.channel.messages.causes import CauseMeta
from serving.config.encoded import decode_config
from serving.log.place import LogPlace
from serving.models.repository.folder import ModelEntry

MOST_BYTES: Final = 3 << 30
"""Of memory that the process may take for data."""


class JobVersion(msgspec.Struct, frozen=True):
    """A version of the model; its configuration as JSON."""

    version: str
    directory: str
    config: str


class CauseJob(msgspec.Struct, frozen=True):
    """What to look for, and where.

    Attributes:
        asked: what is to be explained.
        versions: of the model, the newest last.
        url, spool: where the log is; see `LogPlace`.
    """

    asked: CauseMeta
    versions: tuple[JobVersion, ...]
    url: str
    spool: str

    @property
    def place(self) -> LogPlace:
        """Where the log is."""
        return LogPlace(self.url, Path(self.spool))

    def entries(self) -> list[ModelEntry]:
        """Return the versions of the model, the newest last."""
        return [
            ModelEntry(
                self.asked.model,
                each.version,
                Path(each.directory),
                decode_config(each.config.encode()),
            )
            for each in self.versions
        ]


def job_of(asked: CauseMeta, entries: list[ModelEntry], place: LogPlace) -> CauseJob:
    """Return the job that looks for a cause in the rows that those versions have answered."""
    versions = tuple(
        JobVersion(each.version, str(each.directory), each.config.model_dump_json())
        for each in entries
    )
    return CauseJob(asked, versions, place.url, str(place.spool))
