"""`vigil labels`: send the labels in a file to a model, or ask which rows to label next."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from serving.channel.messages.observation import LabelsWantedReply
from serving.cli.client import Client
from serving.cli.console import ERR, OUT, complain, say, with_progress
from serving.cli.label_files.rows import Form, WrongFile
from serving.cli.label_push import LabelPush, RefusedRow
from serving.cli.target import GATEWAY, Target, asks
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.cli.label_files.opening import LabelFile

WRONG_FILE: Final = 2

MEANINGS: Final = {
    "accepted": "new, or different from before",
    "duplicate": "known already",
    "unknown": "no such prediction yet: they wait for it for an hour",
    "late": "the prediction is no longer kept",
}

app = typer.Typer(help="Labels: what was true of predictions made before.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Labels: what was true of predictions made before."""


@app.command()
@asks(GATEWAY, "the gateway")
def push(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, Parquet or JSON lines (.csv, .parquet, .jsonl), or - for JSON lines on "
            "standard input. Columns: id, y_true, and optionally index, timestamp and "
            "sensitive_features.NAME; others are not read."
        ),
    ],
    id_column: Annotated[str, typer.Option(help="Column with the ids of the requests.")] = "id",
    label_column: Annotated[str, typer.Option(help="Column with the labels.")] = "y_true",
    text: Annotated[
        bool, typer.Option("--text", help="Take every label as text, also 1 and true.")
    ] = False,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many rows at the start.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
) -> None:
    """Push the labels in a file, and print what became of them."""
    # Here, because most commands ask nobody, and read no file.
    import httpx

    from serving.cli.label_files.opening import open_labels

    form = Form(id_column, label_column, text, skip)
    shown = ERR.is_terminal and not quiet
    try:
        with open_labels(file, form) as opened, httpx.Client() as session:
            pushing = LabelPush(Client(target.url, session=session), model, last=skip)
            _push(opened, pushing, target, shown)
    except WrongFile as error:
        complain(f"vigil: {error.message}", style="red")
        raise typer.Exit(WRONG_FILE) from None


@app.command()
@asks(GATEWAY, "the gateway")
def wanted(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="How many rows at most.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the rows: CSV, with an empty column y_true to be filled in."),
    ] = None,
) -> None:
    """Order the rows to label next: half at random, half where the answer may be wrong."""
    if out is not None and out.exists():
        raise VigilError(f"{out}: is there already; name another file with --out")
    answer = Client(target.url).post(
        "v2", "models", model, "labels", "wanted",
        body=msgspec.json.encode({"rows": rows}),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    found = answer.read(LabelsWantedReply)
    if out is not None:
        _write(out, found)
    if target.as_json:
        OUT.print_json(msgspec.json.encode(found).decode())
        return
    if not found.rows:
        say(f"no row of version {found.version} waits for a label: all have one, or none has come")
        return
    at_random = sum(each.at_random for each in found.rows)
    say(
        f"{len(found.rows)} of {found.pool} rows of version {found.version} are wanted: "
        f"{at_random} drawn at random, whose labels count in what is measured, and "
        f"{len(found.rows) - at_random} whose answer may be wrong"
    )
    if out is not None:
        say(f"fill in y_true in {out}, then: vigil labels push {model} {out}")
        return
    for each in found.rows:
        say(f"{each.id},{each.index},{each.propensity:.6g}")


def _write(out: Path, found: LabelsWantedReply) -> None:
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("id", "index", "y_true", "propensity", "at_random"))
            for each in found.rows:
                told = (f"{each.propensity:.8g}", str(each.at_random).lower())
                table.writerow((each.id, each.index, "", *told))
    except OSError as error:
        raise VigilError(f"{out}: cannot be written: {error.strerror}") from None


def _push(opened: LabelFile, pushing: LabelPush, target: Target, shown: bool) -> None:
    try:
        with_progress(
            lambda report: pushing.push(
                opened.labels(), lambda: report("labels", opened.read(), opened.total)
            ),
            shown,
        )
    except KeyboardInterrupt:
        raise VigilError(f"interrupted; {_progress(opened, pushing)}") from None
    except RefusedRow as error:
        raise VigilError(f"{opened.name}, {error.message}; {_progress(opened, pushing)}") from None
    except VigilError as error:
        raise type(error)(f"{error.message}; {_progress(opened, pushing)}") from None
    finally:
        _tell(pushing, target)


def _progress(opened: LabelFile, pushing: LabelPush) -> str:
    """Say what was pushed before it ended, and how to go on."""
    if not pushing.rows:
        return "no label was pushed"
    return (
        f"the labels of {opened.name} up to row {pushing.last} are pushed, "
        f"and --skip {pushing.last} goes on after it"
    )


def _tell(pushing: LabelPush, target: Target) -> None:
    """Print what became of the labels that were pushed."""
    counts = msgspec.to_builtins(pushing.counts)
    if target.as_json:
        told = {"rows": pushing.rows, **counts, "last_row": pushing.last}
        told["sent_again"] = pushing.sent_again
        OUT.print_json(msgspec.json.encode(told).decode())
        return
    say(f"{pushing.rows} labels pushed")
    width = max(len(str(count)) for count in counts.values())
    for name, meaning in MEANINGS.items():
        say(f"  {counts[name]:>{width}} {name:<9} {meaning}")
    if pushing.sent_again:
        say(
            f"{pushing.sent_again} of them were sent again, because an answer was lost: those that "
            f"had arrived before count as duplicate"
        )
