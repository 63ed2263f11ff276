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

from serving.channel.messages.observation import ForgetReply
from serving.cli.console import ERR, Report, say, with_progress
from serving.cli.forget_running import admin_url, forget_running
from serving.cli.log_files import LogFiles, reads_log
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.log.forget import Forgotten
    from serving.log.subject import Subject


class _Runs(VigilError):
    """An instance uses the folder."""


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
    admin: Annotated[
        str | None,
        typer.Option(
            help="The admin listener of the instance that runs, such as http://host:8002; none: "
            "as vigil.yaml says, if one runs there."
        ),
    ] = None,
) -> None:
    """Delete the logged rows of one subject for good, and prove that they are gone.

    An instance that runs does it itself, and goes on serving. Files that hold such rows are
    written anew without them; then every file is searched once more.
    """
    from serving.log.subject import Subject

    whose = Subject(subject, by, model)
    if not subject:
        raise VigilError("--subject is empty; name whose rows are to be deleted")
    _require_text(**{"--subject": subject, "--by": by, "--model": model or ""})
    if admin is None and _runs(files.settings.data_dir.absolute()):
        admin = _admin(files)
    if admin is not None:
        _ask(whose, f"the instance at {admin}", yes)
        _tell(whose, forget_running(admin, whose))
        return
    reader = files.reader()
    if model is not None and model not in reader.models():
        raise VigilError(f"the log has no predictions of model '{model}'")
    from serving.log.store import shown

    _ask(whose, shown(files.place.url), yes)
    data_dir = files.settings.data_dir.absolute()
    with _stopped(data_dir):
        done = _forget(files, whose, data_dir)
    _tell(whose, done)


def _require_text(**given: str) -> None:
    for option, text in given.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise VigilError(f"{option} is no text in UTF-8; give it as one") from None


def _runs(data_dir: Path) -> bool:
    """Whether an instance uses a folder."""
    try:
        with _stopped(data_dir):
            return False
    except _Runs:
        return True


def _admin(files: LogFiles) -> str:
    """Return where the instance answers that runs where a log is."""
    from serving.log.place import place_of

    settings = files.settings
    if settings.log is None or files.place != place_of(settings.log, settings.data_dir):
        raise VigilError(
            f"{settings.data_dir}: an instance runs there, which may write another log than that "
            "of --log; leave --log out, or stop the instance"
        )
    return admin_url(settings)


def _ask(whose: Subject, where: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise VigilError("deleting cannot be undone; say --yes where nobody can be asked")
    of = "all models" if whose.model is None else f"model '{whose.model}'"
    typer.confirm(
        f"Delete every row of {of} in {where} whose {whose.by} is '{whose.value}'?", abort=True
    )


@contextlib.contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """Keep instances from starting; one that runs is told."""
    from serving.config import ConfigError
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
        raise _Runs(f"{data_dir}: an instance was started there meanwhile; do it again") from None


def _forget(files: LogFiles, whose: Subject, data_dir: Path) -> ForgetReply:
    import pyarrow as pa

    from serving.log.forget import forget as forget_rows
    from serving.log.place import log_folder
    from serving.monitoring.forget_proof import require_absent
    from serving.monitoring.forgetting import forget_requests, requests_of

    finished: list[Forgotten] = []
    entries = 0

    def found(rows: Forgotten) -> None:
        nonlocal entries
        entries = forget_requests(data_dir, requests_of(whose, rows.client_ids()))

    def work(report: Report) -> None:
        place = files.place
        finished.append(forget_rows(place.store(), place.spool, whose, report, found))

    try:
        with_progress(work, ERR.is_terminal)
        done = finished[0]
        gone = requests_of(whose, done.client_ids())
        searched = done.searched + require_absent(data_dir, gone, but=log_folder(data_dir))
    except (OSError, pa.ArrowException) as error:
        told = str(error).partition("\n")[0]
        raise VigilError(f"it is not finished, do it again: {told}") from None
    return ForgetReply(
        finished=True,
        rows=done.rows,
        rewritten=done.rewritten,
        deleted=done.deleted,
        entries=entries,
        searched=searched,
    )


def _tell(whose: Subject, done: ForgetReply) -> None:
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
        f"{done.entries} entries of the monitor; {done.searched} files searched again, none holds "
        "it"
    )
