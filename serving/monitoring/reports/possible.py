"""Which reports a model can have, as it is configured."""

from __future__ import annotations

from typing import Final

from serving.errors import Unsupported
from serving.models.profile.files import REFERENCE
from serving.models.repository.folder import ModelEntry

KINDS: Final = ("drift", "performance", "fairness", "quality")
OF_COLUMNS: Final = ("drift", "quality")
"""Those that are about inputs alone, so that they can be made of recent rows without a log."""


def require(kind: str, entry: ModelEntry) -> None:
    """Check that a model can have such a report.

    Raises:
        Unsupported: it cannot; the message says what to change.
    """
    config = entry.config
    if kind == "drift" and not (entry.directory / REFERENCE).is_file():
        raise Unsupported(
            f"model '{entry.name}' has no {REFERENCE} beside its weights, with rows to compare "
            f"with; `vigil profile {entry.name} --data FILE` leaves one"
        )
    if kind == "performance" and config.label_kind is None:
        raise Unsupported(
            f"model '{entry.name}' answers neither classes, numbers nor rankings, so that it has "
            "no labels and no report of performance"
        )
    if kind == "fairness" and config.fairness is None:
        raise Unsupported(
            f"model '{entry.name}' has no section `fairness` in its model.yaml; name the sensitive "
            "attributes there"
        )


def no_log(kind: str) -> str:
    """Say that such a report of logged rows needs a log."""
    nothing = "nothing is logged (`log: null` in vigil.yaml)"
    if kind in OF_COLUMNS:
        return f"{nothing}: without last, since and until the report of {kind} is of recent rows"
    return f"a report of {kind} is made from the prediction log, and {nothing}"


def impossible(kind: str, entry: ModelEntry, *, logged: bool) -> str | None:
    """Return why a model cannot have such a report; None: it can.

    Args:
        kind: one of `KINDS`.
        entry: the model version.
        logged: whether there is a prediction log.
    """
    try:
        require(kind, entry)
    except Unsupported as error:
        return error.message
    return None if logged or kind in OF_COLUMNS else no_log(kind)
