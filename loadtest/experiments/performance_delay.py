"""`python -m loadtest.experiments.performance_delay`: after how many labels is a loss found?

And how often does a page wake somebody for nothing? `--write` keeps results/performance-delay.*.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtest.experiments.running import Experiment
from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.rows import Rows

WINDOW: Final = 200
USUAL: Final = 0.92
THRESHOLD: Final = 0.90
LATE: Final = 500
"""Rows that are answered before the label of one comes."""
LOSSES: Final = (0.30, 0.10, 0.05)
QUARTER_S: Final = 90 * 86400.0
CALM: Final = 60
"""Windows before a loss."""
LONGEST: Final = 260
"""Windows after which a loss counts as never found."""

Rates = Callable[[np.random.Generator, float, int], np.ndarray]
"""Takes a generator, the mean and a number of windows; returns the accuracy of each."""


def steady(rng: np.random.Generator, mean: float, windows: int) -> np.ndarray:
    """Every row is right with the same probability."""
    return np.full(windows, mean)


def wandering(rng: np.random.Generator, mean: float, windows: int) -> np.ndarray:
    """The accuracy wanders by .02 (AR(1), φ = .8 a window)."""
    steps = rng.normal(size=windows) * 0.02 * (1 - 0.8**2) ** 0.5
    level = 0.02 * rng.normal()
    found = np.empty(windows)
    for at, step in enumerate(steps):
        level = 0.8 * level + step
        found[at] = mean + level
    return np.clip(found, 0, 1)


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream.

    Attributes:
        name: what it is called.
        rates: the accuracy of its windows.
        repeats: how often each row comes.
    """

    name: str
    rates: Rates
    repeats: int = 1


STREAMS: Final = (
    Stream("independent rows", steady),
    Stream("each row 5 times", steady, repeats=5),
    Stream("accuracy wanders by 2 points", wandering),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        seeds: losses of each size.
        quarters: quiet quarters of each kind.
        windows: a quarter.
    """

    seeds: int
    quarters: int
    windows: int


QUICK: Final = Size(seeds=12, quarters=8, windows=720)
FULL: Final = Size(seeds=200, quarters=200, windows=2160)


def verdicts(
    rates: np.ndarray, stream: Stream, seconds: float, rng: np.random.Generator
) -> Iterator[bool]:
    """Yield whether there is a page, window by window.

    Args:
        rates: accuracy of the rows of each window.
        stream: the kind of stream.
        seconds: from a window to the next.
        rng: of the rows.
    """
    counts = ClassCounts(0, 0, scored=False)
    monitor = LabelledPerformanceMonitor(
        counts, class_metrics(counts), {"accuracy": THRESHOLD}, WINDOW
    )
    for at, rate in enumerate(rates):
        drawn = rng.random(WINDOW // stream.repeats) < rate
        right = np.repeat(drawn, stream.repeats).astype(np.int64)
        rows = Rows(
            n=WINDOW,
            timestamp=at * seconds,
            predicted=right,
            labels=np.ones(WINDOW, np.int64),
            positions=np.arange(at * WINDOW, (at + 1) * WINDOW),
        )
        (found,) = monitor.update(rows, at * seconds)
        yield bool(found.breached)


def delay(stream: Stream, loss: float, size: Size, seed: int) -> float | None:
    """Return after how many labels, counted from the first row with a loss, a page came."""
    rng = np.random.default_rng([seed, int(100 * loss)])
    rates = stream.rates(rng, USUAL, CALM + LONGEST)
    # Labels of rows from before the loss come first; one window has some of both.
    share = np.clip((np.arange(LONGEST) + 1) - LATE / WINDOW, 0, 1)
    rates[CALM:] = np.clip(rates[CALM:] - loss * share, 0, 1)
    for at, page in enumerate(verdicts(rates, stream, QUARTER_S / size.windows, rng)):
        if page and at >= CALM:
            return float((at - CALM + 1) * WINDOW)
    return None


def pages(stream: Stream, mean: float, size: Size, seed: int) -> int:
    """Return how often a page began in a quiet quarter."""
    rng = np.random.default_rng([seed, 7, int(1000 * mean)])
    rates = stream.rates(rng, mean, size.windows)
    told = [False, *verdicts(rates, stream, QUARTER_S / size.windows, rng)]
    return sum(now and not before for before, now in itertools.pairwise(told))


def measure(size: Size) -> dict[str, Any]:
    """Simulate everything; returns figures as JSON values."""
    delays = []
    quiet = []
    for stream in STREAMS:
        for loss in LOSSES:
            found = [delay(stream, loss, size, seed) for seed in range(size.seeds)]
            delays.append({"stream": stream.name, "loss": loss, "labels": found})
        for mean in (USUAL, THRESHOLD):
            counted = [pages(stream, mean, size, seed) for seed in range(size.quarters)]
            quiet.append({"stream": stream.name, "accuracy": mean, "pages": counted})
    return {"size": asdict(size), "delays": delays, "quiet": quiet}


def tables(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    size = found["size"]
    lines = [
        "# Delay and false pages of performance with labels",
        "",
        (
            f"Accuracy {USUAL:g}, threshold {THRESHOLD:g}, windows of {WINDOW} labels, "
            f"{size['windows']} windows a quarter; labels come {LATE} rows late. Delays are labels "
            f"from the first row with a loss to the page, the {LATE} of older rows included "
            f"({size['seeds']} losses each)."
        ),
        "",
        "| Stream | Loss | Median | 95 % within | Found |",
        "|---|---|---|---|---|",
    ]
    for each in found["delays"]:
        values = [np.inf if value is None else value for value in each["labels"]]
        median, most = (np.quantile(values, at, method="higher") for at in (0.5, 0.95))
        share = np.mean(np.isfinite(values))
        lines.append(
            f"| {each['stream']} | {100 * each['loss']:.0f} points | {_labels(median)} | "
            f"{_labels(most)} | {share:.0%} |"
        )
    lines += ["", "| Stream | Accuracy | Quarters | False pages a quarter |", "|---|---|---|---|"]
    for each in found["quiet"]:
        counted = each["pages"]
        lines.append(
            f"| {each['stream']} | {each['accuracy']:g} | {len(counted)} | {np.mean(counted):.2f} |"
        )
    return "\n".join(lines) + "\n"


def _labels(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "not found"


def draw(path: Path, found: Mapping[str, Any]) -> None:
    """Write an SVG: which share of losses is found after so many labels, by kind of stream."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vigil"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(STREAMS), sharey=True, layout="constrained", figsize=(11, 3)
    )
    for axis, stream in zip(axes, STREAMS, strict=True):
        for each in (e for e in found["delays"] if e["stream"] == stream.name):
            values = sorted(value for value in each["labels"] if value is not None)
            share = np.arange(1, len(values) + 1) / len(each["labels"])
            axis.step(values, share, where="post", label=f"{100 * each['loss']:.0f} points")
        axis.axvline(1000, color="black", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_xlim(400, LONGEST * WINDOW)
        axis.set_title(stream.name, fontsize=9)
        axis.set_xlabel("labels since the loss began")
    axes[0].set_ylabel("losses found")
    axes[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


EXPERIMENT: Final = Experiment(
    name="performance_delay",
    about=__doc__,
    measure=lambda full: measure(FULL if full else QUICK),
    tables=tables,
    draw=draw,
)

if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
