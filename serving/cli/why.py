"""`vigil why`: where a model is wrong, and why it has become worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from serving.cli.console import OUT, say, with_progress
from serving.cli.past_rows import PastOptions, looks_back
from serving.errors import InvalidInput
from serving.protocol.moments import moment

if TYPE_CHECKING:
    from monitors.slices.causes import Explanation
    from monitors.slices.slice_report import SliceReport
    from serving.backtest.labelled_losses import LabelledLosses

_MOST_FEATURES: Final = 5
MOST_GROUPS: Final = 4
"""Groups of an attribute, beside its largest, that are compared with all others."""


@looks_back
def why(
    options: PastOptions,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    changed_at: Annotated[
        str | None,
        typer.Option(
            help="When it became worse: 2026-01-31T12:00:00Z, or a date; none: the later half is "
            "compared with the earlier one."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a model has become worse, and on which rows it is worst; needs labels."""
    from monitors.slices.causes import explain_change
    from monitors.slices.worst_slices import worst_slices
    from serving.backtest.labelled_losses import labelled_losses

    entries, past = options.rows(model)
    config = entries[-1].config
    found: list[LabelledLosses] = []
    with_progress(
        lambda report: found.append(labelled_losses(past, config, report)), shown=not as_json
    )
    [rows] = found
    at = None if changed_at is None else moment(changed_at, "--changed-at").timestamp()
    before, after = _sides(rows, at)
    try:
        change = explain_change(before.columns, before.losses, after.columns, after.losses)
        slices = worst_slices(after.columns, after.losses)
        gaps = _gaps(after) if config.label_kind == "classes" else {}
    except ValueError as error:
        raise InvalidInput(f"these rows cannot be compared: {error}") from None
    if as_json:
        _print_json(before, after, change, slices, gaps)
        return
    of_classes = config.label_kind == "classes"
    _print(before, after, change, "error rate" if of_classes else "mean absolute error")
    _print_slices(slices)
    for (attribute, value), report in gaps.items():
        _print_gap(attribute, value, report)


def _gaps(rows: LabelledLosses) -> dict[tuple[str, str], SliceReport]:
    """Return where a group is wronged most, by attribute and group.

    The largest group is what the others are compared with, so two groups are looked at once.
    """
    import numpy as np

    from monitors.slices.worst_slices import FEWEST, most_disparate_slices

    found = {}
    for attribute, values in rows.groups.items():
        counts = Counter(each for each in values.tolist() if each is not None)
        for value, count in counts.most_common(MOST_GROUPS + 1)[1:]:
            if count < FEWEST or sum(counts.values()) - count < FEWEST:
                continue
            some = rows.some(np.array([each is not None for each in values.tolist()]))
            members = np.array([each == value for each in some.groups[attribute].tolist()])
            found[attribute, value] = most_disparate_slices(some.columns, some.losses, members)
    return found


def _sides(rows: LabelledLosses, at: float | None) -> tuple[LabelledLosses, LabelledLosses]:
    import numpy as np

    if not len(rows.losses):
        raise InvalidInput("no row has a label: nobody knows where the model was wrong")
    middle = float(np.median(rows.times)) if at is None else at
    late = rows.times >= middle
    if late.all() or not late.any():
        raise InvalidInput(
            "--changed-at is not between the first and the last labelled row"
            if at is not None
            else "all labelled rows are of one time: there is nothing to compare"
        )
    return rows.some(~late), rows.some(late)


def _print(before: LabelledLosses, after: LabelledLosses, change: Explanation, what: str) -> None:
    from serving.backtest.reasons import LEAST_WEIGHT, OF_TIME
    from serving.incidents.sentences import moment as written

    say(
        f"{what}: {before.losses.mean():.4g} of {len(before.losses)} labelled rows before "
        f"{written(float(after.times[0]))}, {after.losses.mean():.4g} of {len(after.losses)} since"
    )
    if change.cause is None:
        say("why: the change is no larger than chance makes it")
        return
    part = change.parts[change.cause]
    told = f"{OF_TIME[change.cause]} ({change.cause})"
    say(f"why: {told}: {part.value:+.3g} of {change.change.value:+.3g}")
    carried = [
        f"{name} ({weight:.0%})"
        for name, weight in change.features[:_MOST_FEATURES]
        if weight > LEAST_WEIGHT
    ]
    if carried:
        say(f"carried by: {', '.join(carried)}")


def _print_slices(slices: SliceReport) -> None:
    from serving.backtest.reasons import WORSE

    confirmed = [
        each for each in slices.slices if each.confirmed and each.value > WORSE * each.overall
    ]
    if not confirmed:
        say("worst rows: no part of them is clearly worse than all, beyond chance")
    for each in confirmed:
        where = " and ".join(each.conditions)
        say(
            f"worst where {where}: {each.value:.3g} ({each.low:.3g} to {each.high:.3g}, "
            f"{each.n} held-out rows), {each.overall:.3g} overall"
        )
    if not slices.complete:
        say("not every combination of conditions was looked at: there were too many")


def _print_gap(attribute: str, value: str, gaps: SliceReport) -> None:
    """Print where the error rate of a group differs most from that of the others."""
    for each in gaps.slices:
        if each.confirmed:
            say(
                f"error rate of {attribute} = {value} less that of the others, where "
                f"{' and '.join(each.conditions)}: {each.value:+.3g} ({each.low:+.3g} to "
                f"{each.high:+.3g}, {each.n} held-out rows), {each.overall:+.3g} overall"
            )
            return


def _print_json(
    before: LabelledLosses,
    after: LabelledLosses,
    change: Explanation,
    slices: SliceReport,
    gaps: Mapping[tuple[str, str], SliceReport],
) -> None:
    import json

    told: dict[str, Any] = {
        "before": {"rows": len(before.losses), "mean_loss": float(before.losses.mean())},
        "after": {"rows": len(after.losses), "mean_loss": float(after.losses.mean())},
        "change": change.change._asdict(),
        "parts": {name: part._asdict() for name, part in change.parts.items()},
        "unseen_share": change.unseen,
        "cause": change.cause,
        "features": dict(change.features),
        "slices": _as_values(slices),
        "gaps": [
            {"attribute": attribute, "group": value, "slices": _as_values(report)}
            for (attribute, value), report in gaps.items()
        ],
        "complete": slices.complete,
    }
    OUT.print_json(json.dumps(told))


def _as_values(report: SliceReport) -> list[dict[str, Any]]:
    return [
        {
            "conditions": list(each.conditions), "rows": each.n, "value": each.value,
            "interval": [each.low, each.high], "overall": each.overall, "p_value": each.p_value,
            "confirmed": each.confirmed,
        }
        for each in report.slices
    ]  # fmt: skip
