"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from serving.errors import printable
from serving.telemetry.logs.setup import writes_json

OUT: Final = Console(highlight=False)
ERR: Final = Console(stderr=True, highlight=False)

Report = Callable[[str, int, int | None], None]
"""Takes what is done, how much of it, and of how much; none: nobody knows."""


def say(sentence: str) -> None:
    """Print a sentence that may quote anything: nothing in it is markup, and it stays one line."""
    OUT.print(printable(sentence), markup=False, soft_wrap=True)


def complain(sentence: str, style: str | None = None) -> None:
    """Print a sentence, as `say` does, on standard error."""
    ERR.print(printable(sentence), style=style, markup=False, soft_wrap=True)


def cell(text: str) -> str:
    """Return a text that may hold anything as a table takes it."""
    return escape(printable(text))


def with_progress(work: Callable[[Report], object], shown: bool = True) -> None:
    """Run `work`, which reports how far it is, under progress bars unless they are not `shown`."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERR, disable=writes_json() or not shown) as progress:
        bars: dict[str, Any] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        work(report)
