"""`vigil demo`: serve the demo's models; `vigil demo traffic`: play a day of traffic for them."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from serving.channel.messages.incidents import MOST_LISTED, Incident, IncidentList
from serving.cli.client import Answer, Client, Refused
from serving.cli.console import ERR, say, with_progress
from serving.cli.serve import SUPERVISOR, serve
from serving.cli.server_options import starts
from serving.cli.target import GATEWAY
from serving.errors import VigilError
from serving.telemetry.logs.setup import configure

if TYPE_CHECKING:
    from serving.demo.traffic.record import Record

_SEEDS: Final = 1_000_000
_TRIES: Final = 240
_PAUSE_S: Final = 0.5

app = typer.Typer(invoke_without_command=True)


@app.callback(help="Build the demo models, then serve them; `traffic` plays a day against them.")
@starts(without=("transport", "drain_delay_s"), models=Path("demo-models"))
def demo(
    given: dict[str, Any],
    context: typer.Context,
    build_only: Annotated[bool, typer.Option(help="Build the models, do not serve.")] = False,
) -> None:
    """Build the demo models, then serve them."""
    if context.invoked_subcommand is not None:
        return
    from serving.config import load_server

    configure(SUPERVISOR, sends=False)
    settings = load_server(None, given)
    _build(settings.models)
    if not build_only:
        raise typer.Exit(serve(settings))


def _build(models: Path) -> None:
    from serving.demo.build import build_demo

    with_progress(lambda report: build_demo(models, report))


@app.command()
def traffic(
    url: Annotated[str, typer.Option(help="Where the demo's gateway answers HTTP.")] = GATEWAY,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of chance; none: another one each time.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write what happened as a picture: an SVG file.")
    ] = None,
) -> None:
    """Play a day in two minutes: clean traffic, then a drift, a fairness gap, other truths.

    Says what is played and what Vigil should say, and at the end whether it did: the exit code is 1
    if an incident is missing or a wrong one came. Needs a demo that has had no such day yet.
    """
    # Here, because most commands ask nobody.
    import httpx

    from serving.demo.traffic import words
    from serving.demo.traffic.comparison import compare
    from serving.demo.traffic.schedule import Day

    if picture is not None and not picture.absolute().parent.is_dir():
        raise VigilError(f"--picture: there is no folder {picture.absolute().parent}")
    chosen = random.SystemRandom().randrange(_SEEDS) if seed is None else seed
    day = Day()
    try:
        with httpx.Client() as session:
            instance = AskedInstance(Client(url, session=session))
            instance.incidents()
            say(words.introduction(day, chosen))
            record = _played(day, instance, chosen)
    except KeyboardInterrupt:
        raise VigilError("interrupted; nothing is sent any more") from None
    compared = compare(day.planted, record.seen)
    for line in words.outcome(compared):
        say(line)
    if picture is not None:
        _draw(record, picture)
    if not compared.right:
        raise typer.Exit(1)


class AskedInstance:
    """The instance that a day is played against, asked over HTTP.

    Args:
        client: asks it.
        sleep: waits for some seconds.
    """

    def __init__(self, client: Client, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client, self._sleep = client, sleep

    def await_judges(self, model: str) -> None:
        """Return once what is sent is judged: the monitor starts last."""
        self._patiently(lambda: self._client.get("v2", "models", model, "findings"))

    def infer(self, model: str, body: bytes) -> bytes:
        """Return the answer to an inference."""
        return self._client.post("v2", "models", model, "infer", body=body).content

    def push_labels(self, model: str, body: bytes) -> None:
        """Push labels."""
        self._patiently(lambda: self._client.post("v2", "models", model, "labels", body=body))

    def incidents(self) -> Sequence[Incident]:
        """Return all incidents, those that are not over first."""
        query = {"limit": str(MOST_LISTED)}
        answer = self._patiently(lambda: self._client.get("v2", "incidents", query=query))
        return answer.read(IncidentList).incidents

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again while the answer is that somebody is not there yet, or not for a moment."""
        for _ in range(_TRIES):
            try:
                return ask()
            except Refused as refusal:
                if refusal.status != 503:
                    raise
                self._sleep(_PAUSE_S)
        return ask()


def _played(day: Any, instance: AskedInstance, seed: int) -> Record:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from serving.demo.traffic.play import Surroundings, play
    from serving.demo.traffic.schedule import clock

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # What is said goes above the bar where both are on one terminal.
    shared = sys.stdout.isatty()
    with Progress(*columns, console=ERR, redirect_stdout=shared) as progress:
        bar = progress.add_task(clock(day.begins), total=day.last_push - day.begins)

        def shown(hour: float) -> None:
            progress.update(bar, completed=hour - day.begins, description=clock(hour))

        return play(day, instance, seed, Surroundings(say=say, progress=shown))


def _draw(record: Record, path: Path) -> None:
    from serving.demo.traffic.picture import picture

    try:
        path.write_text(picture(record), encoding="utf-8")
    except OSError as error:
        raise VigilError(f"{path}: {error.strerror or error}; the picture is not written") from None
    say(f"picture: {path}")
