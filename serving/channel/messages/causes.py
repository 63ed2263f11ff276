"""Why a model does worse or treats groups unalike, as its rows tell; asked by the control plane.

Kind `cause` (request, control plane to monitor): `CauseMeta`, answered with `Cause`, which may take
minutes.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

CAUSE: Final = "cause"
CAUSE_TIMEOUT_S: Final = 120.0
"""How long a cause is looked for at most."""

Kind = Literal["", "covariate shift", "concept shift", "unseen region"]


class CauseMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for a cause.

    Attributes:
        model: its name.
        metric: that has breached.
        attribute: sensitive attribute whose groups are compared; empty: rows before and after are.
        since: seconds since the epoch from which on it has probably been so.
    """

    model: str
    metric: str
    attribute: str
    since: float


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the rows tell of a breach.

    Attributes:
        summary: in one sentence; where nothing can be said: why not.
        known: whether something can be said.
        kind: what kind of change, or of difference between groups, explains most of it; empty:
            none, or not known.
        change: of the mean loss, or of the rate between groups; None: not known.
        parts: of the change by kind.
        features: names of the inputs that carry it with their weights in [0, 1], the heaviest
            first.
        group: value of the attribute that is worst off; empty: groups were not compared.
        where: conditions of the rows on which it is worst, as "age < 25 and region = north".
        rows: labelled rows before and since, or rows of the others and of the group.
        at: seconds since the epoch when this was found.
        about: which state of its incident it was asked for.
    """

    summary: str
    known: bool = False
    kind: Kind = ""
    change: float | None = None
    parts: dict[str, float] = {}
    features: dict[str, float] = {}
    group: str = ""
    where: str = ""
    rows: tuple[int, int] = (0, 0)
    at: float = 0.0
    about: str = ""
