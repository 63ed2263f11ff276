"""Telling observers what happened, whatever becomes of the numbers."""

from __future__ import annotations

from collections.abc import Callable

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Telling:
    """Calls what keeps the books of one model version.

    Args:
        name, version: of the model, for the log.
    """

    def __init__(self, name: str, version: str) -> None:
        self._name, self._version = name, version

    def tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Call `what`; that it raises is logged, for requests get their answers all the same."""
        try:
            what(*arguments)
        except Exception as error:  # noqa: BLE001 - see above
            report(
                Event.OBSERVATION_FAILED,
                "a metric or an event was not recorded",
                model=self._name,
                version=self._version,
                error=error,
            )
