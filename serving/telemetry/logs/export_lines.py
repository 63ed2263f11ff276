"""What the log says of exporters, of whatever signal."""

from __future__ import annotations

from collections.abc import Callable

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def export_changed(exports: str) -> Callable[[str, str], None]:
    """Return what writes a line about some exports: a sentence, and their state in a word or two.

    Args:
        exports: `exports of traces`; what is said of these keeps back nothing about others.
    """

    def tell(said: str, state: str) -> None:
        report(Event.EXPORT_CHANGED, said, kind=exports, state=state)

    return tell


def variable_ignored(said: str) -> None:
    """Say that a variable of the environment means nothing.

    Each sentence may be written as often as one cause may, whatever is said of other variables.
    """
    report(Event.VARIABLE_IGNORED, said, kind=said)
