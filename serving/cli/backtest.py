"""`vigil backtest`: what the monitors of a model would have told of rows of the past."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import OUT, say, with_progress
from serving.cli.past_rows import PastOptions, PastRows, looks_back
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.backtest.outcome import Outcome


@looks_back
def backtest(
    options: PastOptions,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    out: Annotated[
        Path | None, typer.Option(help="The page with the time line; none: MODEL-backtest.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a model's monitors over a file, or the log, as if its rows came now."""
    _tell(options.rows(model), out or Path(f"{model}-backtest.html"), as_json=as_json)


def _tell(rows: PastRows, out: Path, *, as_json: bool) -> None:
    import msgspec

    from serving.backtest.page import page
    from serving.backtest.simulation import Backtest
    from serving.backtest.words import false_pages, headline
    from serving.control.served_model import served_model

    entries, past = rows
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
