"""Reports that are kept: files of `data_dir/reports`, in a folder for each model."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from serving.errors import NotFound
from serving.monitoring.state_file import (
    UnreadableState,
    open_private,
    read_state,
    write_state,
)

STATE: Final = "schedule.json"
_ID: Final = re.compile(r"([a-z]+)-(\d{8}T\d{6})Z")
_TIME: Final = "%Y%m%dT%H%M%S"


class Kept(NamedTuple):
    """A report that is kept.

    Attributes:
        id: its name without the ending.
        kind: of the report.
        time: seconds since the epoch when it was made.
        file: where it lies.
    """

    id: str
    kind: str
    time: float
    file: Path

    @property
    def format(self) -> str:
        """`html` or `json`."""
        return self.file.suffix[1:]


class Planned(msgspec.Struct):
    """When a kind of report is to be made, and what became of the last attempt.

    Attributes:
        due: seconds since the epoch.
        failed_at: seconds since the epoch; None: the last attempt made one, or there was none.
        why: the last attempt failed.
    """

    due: float
    failed_at: float | None = None
    why: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Planned]).decode


class KeptReports:
    """Reports on the disk, with what is planned.

    Args:
        folder: that has a folder for each model; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, model: str, kind: str, form: str, at: float, content: bytes) -> Kept:
        """Write a report; a reader sees all of it or nothing.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = self._folder / model
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ident = f"{kind}-{datetime.fromtimestamp(at, UTC).strftime(_TIME)}Z"
        new = folder / f"{ident}.new"
        with open_private(new, 0) as file:
            file.write(content)
        made = folder / f"{ident}.{form}"
        new.replace(made)
        return Kept(ident, kind, at, made)

    def thin(self, model: str, kind: str, most: int) -> None:
        """Delete all reports of a kind but the newest ones.

        Raises:
            OSError: one cannot be deleted.
        """
        for each in [one for one in self.listed(model) if one.kind == kind][most:]:
            each.file.unlink(missing_ok=True)

    def listed(self, model: str) -> list[Kept]:
        """Return the reports of a model, the newest first."""
        found = []
        for file in (self._folder / model).glob("*-*Z.*"):
            named = _ID.fullmatch(file.stem)
            if named and file.suffix in (".html", ".json"):
                try:
                    time = datetime.strptime(named[2], _TIME).replace(tzinfo=UTC)
                except ValueError:  # not ours
                    continue
                found.append(Kept(file.stem, named[1], time.timestamp(), file))
        return sorted(found, key=lambda each: (-each.time, each.id))

    def read(self, model: str, kind: str, ident: str) -> tuple[str, bytes]:
        """Return the format and the content of a report.

        Raises:
            NotFound: there is none with this id.
        """
        for each in self.listed(model):
            if (each.id, each.kind) == (ident, kind):
                try:
                    return each.format, each.file.read_bytes()
                except FileNotFoundError:  # it was deleted in this moment
                    break
        raise NotFound(
            f"no report of {kind} with id '{ident[:60]}' is kept; "
            f"GET /v2/models/{model}/reports lists them"
        )

    def plan(self, model: str) -> dict[str, Planned]:
        """Return what was planned last, by kind; nothing where it cannot be read."""
        try:
            state = read_state(self._folder / model / STATE)
            return {} if state is None else _decode(state)
        except (UnreadableState, msgspec.MsgspecError):
            return {}

    def save_plan(self, model: str, plan: dict[str, Planned]) -> None:
        """Have a restart go on from this plan.

        Raises:
            OSError: it cannot be written.
        """
        write_state(self._folder / model / STATE, _encode(plan))
