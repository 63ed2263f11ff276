"""Goodput of both policies over the load, one panel per cost curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.scheduling.setting import CURVES, POLICIES

_COLOURS = {"eager": "#1b6ca8", "eager, giving up": "#2e7d4f", "deferred": "#c05a1c"}


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write an SVG; solid lines are the real batcher, dashed ones the simulation."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vigil"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(CURVES), sharey=True, layout="constrained", figsize=(9, 3)
    )
    for axis, curve in zip(axes, CURVES, strict=True):
        for policy in POLICIES:
            for how, style in (("simulated", "--"), ("real", "-")):
                points = [
                    (row["load"], row["in_goal"])
                    for row in rows
                    if (row["experiment"], row["curve"], row["policy"]) == (how, curve.name, policy)
                ]
                xs, ys = zip(*points, strict=True)
                axis.plot(
                    xs, ys, style, marker="o", color=_COLOURS[policy], label=f"{policy}, {how}"
                )
        axis.set_title(curve.name, fontsize=9)
        axis.set_xlabel("load, share of capacity", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("answered inside the goal", fontsize=8)
    axes[-1].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
