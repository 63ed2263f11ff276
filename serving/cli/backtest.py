"""`vigil backtest`: what the monitors of a model would have told of rows of the past."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import OUT, say, with_progress
from serving.cli.log_files import log_files
from serving.cli.moments import span, window
from serving.cli.server_options import ModelsDir, overrides
from serving.config import load_server
from serving.errors import InvalidInput, VigilError

if TYPE_CHECKING:
    from serving.backtest.happenings import Past
    from serving.backtest.outcome import Outcome
    from serving.models.repository.folder import ModelEntry


def backtest(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: Annotated[
        Path | None,
        typer.Option(help="File with rows, which the model answers now: Parquet, or CSV."),
    ] = None,
    time: Annotated[str, typer.Option(help="Column with the time of each row.")] = "",
    rows_per_day: Annotated[
        float | None,
        typer.Option(min=1e-3, help="How fast the rows came, if no column has their times."),
    ] = None,
    label: Annotated[str, typer.Option(help="Column with what is true.")] = "y_true",
    label_delay: Annotated[
        str, typer.Option(help="How long after a row its label came: 90s, 15m, 1h or 7d.")
    ] = "0s",
    version: Annotated[
        str | None, typer.Option(help="The version that answers the file; none: the newest.")
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(help="Instead of a file, what the prediction log has of the last so long."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="The log from this time on: 2026-01-31T12:00:00Z, or a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="The log before this time.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page with the time line; none: MODEL-backtest.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    models: ModelsDir = None,
    config: Annotated[Path | None, typer.Option(help="vigil.yaml; none: the defaults.")] = None,
    log: Annotated[
        str | None, typer.Option(help="Where the log is: a folder, or a URL such as s3://b/log.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The instance's own folder; none: as vigil.yaml says.")
    ] = None,
) -> None:
    """Run a model's monitors over a file, or the log, as if its rows came now."""
    if (data is None) == (last is None and since is None and until is None):
        raise InvalidInput(
            "say what to look at: a file with --data, or the prediction log with --last, such as "
            "--last 30d; one of the two"
        )
    first, end = window(last, since, until, datetime.now(UTC))
    delay_s = span(label_delay, "--label-delay").total_seconds()
    from serving.models.repository.folder import ModelRepository

    settings = load_server(config, overrides(models=models))
    entries = ModelRepository(settings.models, settings.remote_hosts).entries(model)
    if version is not None:
        entries = [each for each in entries if each.version == version]
        if not entries:
            raise InvalidInput(f"model '{model}' has no version '{version}'")
    past: Past
    if data is not None:
        from serving.backtest.file_past import FilePast, FileTimes

        entries = entries[-1:]
        times = FileTimes(time, rows_per_day, delay_s)
        past = FilePast(entries[0], data, times, label, clock.time())
    else:
        from serving.backtest.log_past import LogPast
        from serving.log.reader import LogReader

        files = log_files(config, log, data_dir)
        reader = files.reader()
        sensitive = LogReader(files.place.store(), files.place.spool, "sensitive")
        past = LogPast(entries, reader, sensitive, first, end)
    _tell(entries, past, out or Path(f"{model}-backtest.html"), as_json=as_json)


def _tell(entries: list[ModelEntry], past: Past, out: Path, *, as_json: bool) -> None:
    import msgspec

    from serving.backtest.page import page
    from serving.backtest.simulation import Backtest
    from serving.backtest.words import false_pages, headline
    from serving.control.served_model import served_model

    stated = entries[-1].config.monitors.false_pages_per_quarter
    found: list[Outcome] = []
    run = Backtest([served_model(each) for each in entries], past.first)
    with_progress(lambda report: found.append(run.run(past, report)), shown=not as_json)
    [outcome] = found
    try:
        out.write_text(page(outcome, stated), encoding="utf-8")
    except OSError as error:
        raise VigilError(f"{out}: the page cannot be written: {error.strerror}") from None
    if as_json:
        plain = msgspec.structs.replace(outcome, figures=())
        told = {**msgspec.to_builtins(plain), "false_pages": outcome.false_pages(stated)}
        OUT.print_json(msgspec.json.encode(told).decode())
        return
    _print(outcome)
    say(headline(outcome))
    say(false_pages(outcome, stated))
    for note in outcome.notes:
        say(f"not judged: {note}")
    say(f"the time line is in {out}")


def _print(outcome: Outcome) -> None:
    from serving.incidents.sentences import ago, moment

    for each in outcome.incidents:
        over = "open to the end"
        if each.closed_at is not None:
            over = f"over after {ago(each.closed_at - each.opened_at)}"
        say(f"{each.severity:<6} {moment(each.opened_at)}, {over}: {each.summary}")
