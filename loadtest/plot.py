"""The ratios to Triton's better setting as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.ratios import CONTROL, Summary


def draw(path: Path, summaries: Sequence[Summary], labels: Mapping[str, str]) -> bool:
    """Write an SVG with one panel per section and load; False when there is nothing to draw."""
    drawn = [s for s in summaries if s.ratio and s.key != CONTROL]
    panels = list(dict.fromkeys((s.section, s.load) for s in drawn))
    if not panels:
        return False
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vigil"  # the same figures give the same file
    from matplotlib import pyplot

    rows = [[s for s in drawn if (s.section, s.load) == panel] for panel in panels]
    heights = [len(row) + 0.8 for row in rows]
    figure, axes = pyplot.subplots(
        len(panels), 1, sharex=True, squeeze=False, layout="constrained",
        figsize=(9, 0.32 * sum(heights) + 0.6), height_ratios=heights,
    )  # fmt: skip
    for axis, (section, load), row in zip(axes[:, 0], panels, rows, strict=True):
        _panel(axis, row, labels)
        axis.set_title(f"{load} ({section})", loc="left", fontsize=9)
    axes[-1, 0].set_xlabel("requests/s, as a multiple of Triton's better setting (median, range)")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _panel(axis: object, row: Sequence[Summary], labels: Mapping[str, str]) -> None:
    ratios = [s.ratio for s in row if s.ratio]
    middle = [r.median for r in ratios]
    reach = [[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]]
    colours = ["#1b6ca8" if s.key.startswith("vigil") else "#9aa5b1" for s in row]
    names = [labels.get(s.key, s.key) for s in row]
    axis.barh(names, middle, xerr=reach, color=colours, capsize=2)  # type: ignore[attr-defined]
    axis.axvline(1, color="black", linewidth=0.8)  # type: ignore[attr-defined]
    axis.invert_yaxis()  # type: ignore[attr-defined]
    axis.tick_params(labelsize=8)  # type: ignore[attr-defined]
