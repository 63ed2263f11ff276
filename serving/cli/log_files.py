"""The prediction log that a command reads, and the options that say where it is: written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, Final, ParamSpec

import typer

from serving.cli.added_options import with_options
from serving.cli.server_options import overrides
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.config import ServerConfig
    from serving.log.place import LogPlace
    from serving.log.reader import LogReader

P = ParamSpec("P")

_OPTIONS: Final = {
    "config": (
        Annotated[
            Path | None,
            typer.Option(help="vigil.yaml, which says where the log is; none: the defaults."),
        ],
        None,
    ),
    "log": (
        Annotated[
            str | None,
            typer.Option(help="Where the log is instead: a folder, or a URL such as s3://b/log."),
        ],
        None,
    ),
    "data_dir": (
        Annotated[
            Path | None, typer.Option(help="The instance's own folder; none: as vigil.yaml says.")
        ],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Where a log is, and the configuration of its instance."""

    settings: ServerConfig
    place: LogPlace

    def reader(self) -> LogReader:
        """Return a reader of its predictions.

        Raises:
            VigilError: there is no log, or its store is unknown.
        """
        from serving.log.reader import LogReader

        store = self.place.store()
        if store.local is not None and not store.local.is_dir():
            raise VigilError(
                f"{store.local}: there is no prediction log; name vigil.yaml with --config, or "
                "the log's folder or URL with --log"
            )
        return LogReader(store, self.place.spool)


def log_files(config: Path | None, log: str | None, data_dir: Path | None) -> LogFiles:
    """Return the log that options name.

    Raises:
        VigilError: nothing is logged, as vigil.yaml says; or vigil.yaml is wrong.
    """
    from serving.config import load_server
    from serving.log.place import LogPlace, log_folder, place_of

    settings = load_server(config, overrides(data_dir=data_dir))
    if log is not None:
        own = Path(log) if "://" not in log else log_folder(settings.data_dir)
        return LogFiles(settings, LogPlace(log, own / "open"))
    if settings.log is None:
        raise VigilError(f"{config}: nothing is logged (`log: null`); name another log with --log")
    return LogFiles(settings, place_of(settings.log, settings.data_dir))


def reads_log(command: Callable[Concatenate[LogFiles, P], None]) -> Callable[..., None]:
    """Give a command the options of a log, in the place of its first argument."""
    return with_options(command, _OPTIONS, log_files)
