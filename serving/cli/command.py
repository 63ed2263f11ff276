"""The command `vigil` as a whole. Exit codes: 0 fine, 1 it failed, 2 wrong usage."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from serving.cli.backtest import backtest
from serving.cli.bill import bill
from serving.cli.check import check
from serving.cli.console import complain
from serving.cli.demo import app as demo
from serving.cli.findings import findings
from serving.cli.forget import forget
from serving.cli.incidents import incidents
from serving.cli.infer import infer
from serving.cli.labels import app as labels
from serving.cli.model_files import convert, manifest, profile
from serving.cli.monitors import monitors
from serving.cli.predictions import predictions
from serving.cli.reference import describe
from serving.cli.replay import replay
from serving.cli.report import report as report_of
from serving.cli.status import status
from serving.cli.up import up
from serving.cli.watch import watch
from serving.cli.why import why
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import writes_json

app = typer.Typer(
    help="A model serving gateway that watches itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (up, watch, check, profile, convert, manifest):
    app.command()(command)
app.command("config")(describe)
for command in (infer, findings, monitors, incidents, status, bill):
    app.command()(command)
app.command("report")(report_of)
app.add_typer(demo, name="demo")
app.add_typer(labels, name="labels")
for command in (predictions, replay, backtest, why, forget):
    app.command()(command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """A model serving gateway that watches itself."""
    if debug:
        # In the environment, because child processes must hear of it as well.
        os.environ["VIGIL_DEBUG"] = "1"


def main() -> None:
    """Run the command; errors become one sentence and an exit code."""
    if os.getpid() == 1:
        from serving.engines.init import become_init

        become_init()
    # Python looks for garbage again as it ends, among all that was ever imported: a seventh of the
    # processor time of a short command, and most of what a server takes to end after its roles.
    atexit.register(gc.freeze)
    try:
        app()
    except VigilError as error:
        debug = bool(os.environ.get("VIGIL_DEBUG"))
        if writes_json():  # a server, whose standard error is its log
            report(Event.START_REFUSED, error.message, error=error if debug else None)
            sys.exit(1)
        if debug:
            raise
        complain(f"vigil: {error.message}", style="red")
        sys.exit(1)
