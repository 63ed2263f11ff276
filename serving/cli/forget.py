"""`vigil forget`: take the rows of one subject out of the log and the monitor's state."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import ERR, Report, say, with_progress
from serving.cli.log_files import LogFiles, reads_log
from serving.config import ConfigError
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.log.forget import Forgotten, Subject


@reads_log
def forget(
    files: LogFiles,
    subject: Annotated[str, typer.Option(help="Whose rows: a client's id, or what --by says.")],
    by: Annotated[
        str,
        typer.Option(help="The column that holds it: client_id, principal, or a feature's column."),
    ] = "client_id",
    model: Annotated[str | None, typer.Option(help="Only of this model; none: of all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the logged rows of one subject for good, and prove that they are gone.

    The instance must be stopped. Files that hold such rows are written anew without them; then
    every file is searched once more.
    """
    from serving.log.forget import Subject

    whose = Subject(subject, by, model)
    if not subject:
        raise VigilError("--subject is empty; name whose rows are to be deleted")
    reader = files.reader()
    if model is not None and model not in reader.models():
        raise VigilError(f"the log has no predictions of model '{model}'")
    _ask(whose, files, yes)
    data_dir = files.settings.data_dir.absolute()
    with _stopped(data_dir):
        done, entries, searched = _forget(files, whose, data_dir)
    _tell(whose, done, entries, searched)


def _ask(whose: Subject, files: LogFiles, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise VigilError("deleting cannot be undone; say --yes where nobody can be asked")
    from serving.log.store import shown

    of = "all models" if whose.model is None else f"model '{whose.model}'"
    where = shown(files.place.url)
    typer.confirm(
        f"Delete every row of {of} in {where} whose {whose.by} is '{whose.value}'?", abort=True
    )


@contextlib.contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """Keep instances from starting; one that runs is told."""
    from serving.engines.data_folder import held

    if not data_dir.is_dir():
        yield
        return
    try:
        with held(data_dir):
            yield
    except ConfigError as error:
        if "in use" not in error.message:
            raise
        raise VigilError(
            f"{data_dir}: an instance runs there; stop it first, since what it holds in memory "
            "would come after"
        ) from None


def _forget(files: LogFiles, whose: Subject, data_dir: Path) -> tuple[Forgotten, int, int]:
    import pyarrow as pa

    from serving.log.forget import CLIENT_ID, SHORTEST_TEXT
    from serving.log.forget import forget as forget_rows
    from serving.monitoring.forgetting import forget_requests, require_absent

    found: list[Forgotten] = []

    def work(report: Report) -> None:
        found.append(forget_rows(files.place.store(), files.place.spool, whose, report))

    try:
        with_progress(work, ERR.is_terminal)
        done = found[0]
        idents = done.client_ids | ({whose.value} if whose.by == CLIENT_ID else set())
        entries = forget_requests(data_dir, idents)
        searched = done.searched
        text = whose.value.encode()
        if len(text) >= SHORTEST_TEXT:
            searched += require_absent(data_dir, text, but=data_dir / "log")
    except (OSError, pa.ArrowException) as error:
        told = str(error).partition("\n")[0]
        raise VigilError(f"it is not finished, do it again: {told}") from None
    return done, entries, searched


def _tell(whose: Subject, done: Forgotten, entries: int, searched: int) -> None:
    for path in done.rewritten:
        say(f"rewritten: {path}")
    for path in done.deleted:
        say(f"deleted: {path}")
    rows = {"predictions": 0, "sensitive": 0} | done.rows
    counts = ", ".join(f"{count} rows of {name}" for name, count in rows.items())
    digest = hashlib.sha256(whose.value.encode()).hexdigest()
    say(
        f"{datetime.now(UTC).isoformat(timespec='seconds')} forgotten: subject sha256:{digest} "
        f"by {whose.by} of {'all models' if whose.model is None else whose.model}; {counts}, "
        f"{entries} entries of the monitor; {searched} files searched again, none holds it"
    )
