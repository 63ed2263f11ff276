"""The rows of the past that a command looks at, and the options that say which: written once."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, NamedTuple, ParamSpec

import typer

from serving.cli.added_options import with_options
from serving.cli.log_files import log_files
from serving.cli.server_options import ModelsDir, overrides
from serving.errors import InvalidInput
from serving.protocol.moments import span, window

if TYPE_CHECKING:
    from serving.backtest.happenings import Past
    from serving.models.repository.folder import ModelEntry

P = ParamSpec("P")

_Text = str | None
_Folder = Path | None

_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "data": (
        Annotated[
            _Folder,
            typer.Option(help="File with rows, which the model answers now: Parquet, or CSV."),
        ],
        None,
    ),
    "time": (Annotated[str, typer.Option(help="Column with the time of each row.")], ""),
    "rows_per_day": (
        Annotated[
            float | None,
            typer.Option(min=1e-3, help="How fast the rows came, if no column has their times."),
        ],
        None,
    ),
    "label": (Annotated[str, typer.Option(help="Column with what is true.")], "y_true"),
    "label_delay": (
        Annotated[
            str, typer.Option(help="How long after a row its label came: 90s, 15m, 1h or 7d.")
        ],
        "0s",
    ),
    "version": (
        Annotated[_Text, typer.Option(help="Answers the file; none: the newest version.")],
        None,
    ),
    "last": (
        Annotated[
            _Text,
            typer.Option(
                help="In place of a file, what the prediction log has of the last so long."
            ),
        ],
        None,
    ),
    "since": (
        Annotated[
            _Text, typer.Option(help="The log from this time on: 2026-01-31T12:00:00Z, or a date.")
        ],
        None,
    ),
    "until": (Annotated[_Text, typer.Option(help="The log before this time.")], None),
    "models": (ModelsDir, None),
    "config": (Annotated[_Folder, typer.Option(help="vigil.yaml; none: the defaults.")], None),
    "log": (
        Annotated[
            _Text, typer.Option(help="Where the log is: a folder, or a URL such as s3://b/log.")
        ],
        None,
    ),
    "data_dir": (
        Annotated[
            _Folder, typer.Option(help="The instance's own folder; none: as vigil.yaml says.")
        ],
        None,
    ),
}


class PastRows(NamedTuple):
    """Rows of one model.

    Attributes:
        entries: the versions that have answered them, the newest last.
        past: the rows.
    """

    entries: list[ModelEntry]
    past: Past


@dataclass(frozen=True, slots=True)
class PastOptions:
    """What the options say; see there."""

    data: Path | None
    time: str
    rows_per_day: float | None
    label: str
    label_delay: str
    version: str | None
    last: str | None
    since: str | None
    until: str | None
    models: Path | None
    config: Path | None
    log: str | None
    data_dir: Path | None

    def rows(self, model: str) -> PastRows:
        """Return the rows of a model.

        Raises:
            VigilError: they cannot be read, or the options contradict each other.
        """
        from serving.config import load_server
        from serving.models.repository.folder import ModelRepository

        spans = (self.last, self.since, self.until)
        if (self.data is None) == all(each is None for each in spans):
            raise InvalidInput(
                "say what to look at: a file with --data, or the prediction log with --last, such "
                "as --last 30d; one of the two"
            )
        settings = load_server(self.config, overrides(models=self.models))
        entries = ModelRepository(settings.models, settings.remote_hosts).entries(model)
        if self.version is not None:
            entries = [each for each in entries if each.version == self.version]
            if not entries:
                raise InvalidInput(f"model '{model}' has no version '{self.version}'")
        if self.data is not None:
            return PastRows(entries[-1:], self._file(entries[-1], self.data))
        return PastRows(entries, self._logged(entries))

    def _file(self, entry: ModelEntry, data: Path) -> Past:
        from serving.backtest.file_past import FilePast, FileTimes

        delay_s = span(self.label_delay, "--label-delay").total_seconds()
        times = FileTimes(self.time, self.rows_per_day, delay_s)
        return FilePast(entry, data, times, self.label, clock.time())

    def _logged(self, entries: list[ModelEntry]) -> Past:
        from serving.backtest.log_past import LogPast
        from serving.log.reader import LogReader

        first, end = window(self.last, self.since, self.until, datetime.now(UTC))
        files = log_files(self.config, self.log, self.data_dir)
        sensitive = LogReader(files.place.store(), files.place.spool, "sensitive")
        return LogPast(entries, files.reader(), sensitive, first, end)


def looks_back(command: Callable[Concatenate[PastOptions, P], None]) -> Callable[..., None]:
    """Give a command the options of rows of the past, in the place of its first argument."""
    return with_options(command, _OPTIONS, PastOptions)
