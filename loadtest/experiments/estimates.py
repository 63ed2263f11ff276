"""`python -m loadtest.experiments.estimates`: how far off is performance without labels?

`--write` keeps results/estimates.*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.special import expit
from sklearn.datasets import load_digits, make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from loadtest.experiments.running import Experiment
from monitors.estimation.confidence_based import fit_cbpe, fit_pape
from monitors.estimation.figures import realised_class_figures, realised_number_figures
from monitors.estimation.fitted import FittedEstimation, fit_estimation
from monitors.estimation.predictions import LabelledPredictions, Predictions

SHIFTS: Final = (0.0, 0.5, 1.0, 1.5)
"""Of the mean of a feature, in its standard deviations; of digits, of the log of the weights."""
CHUNK: Final = 200
_REFERENCE: Final = 4000
_WANDER: Final = 0.5
"""Deviation of a level from window to window, in standard deviations of the feature."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        seeds: of each stream.
        windows: of each shift, and of a stream after its reference.
    """

    seeds: int
    windows: int


QUICK: Final = Size(seeds=4, windows=20)
FULL: Final = Size(seeds=100, windows=40)

Made = Callable[[np.random.Generator, int, float], LabelledPredictions]


def noisy(rng: np.random.Generator, rows: int, shift: float) -> LabelledPredictions:
    """Rows whose labels are noisier where x0 is large, which scores do not know."""
    x = rng.normal(size=(rows, 4))
    x[:, 0] += shift
    labels = rng.random(rows) < expit(4 * x[:, 1] * expit(-2 * x[:, 0]))
    score = expit(2 * x[:, 1])
    return LabelledPredictions(
        predictions=Predictions(
            features={f"x{at}": x[:, at] for at in range(4)},
            scores=np.column_stack((1 - score, score)),
        ),
        labels=labels.astype(np.int64),
    )


def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures of scikit-learn's digits that a model has not learnt from, scores, labels."""
    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    learnt, rest = order[:150], order[150:]
    model = LogisticRegression(max_iter=2000).fit(pictures[learnt], labels[learnt])
    return pictures[rest], model.predict_proba(pictures[rest]), labels[rest]


def digits(rng: np.random.Generator, rows: int, shift: float) -> LabelledPredictions:
    """Pictures of digits; bright ones are drawn more often, the more the larger the shift."""
    pictures, scores, labels = _DIGITS
    half = np.arange(len(labels)) % 2 == (rows != _REFERENCE)
    bright = pictures.sum(axis=1)
    weights = np.where(half, np.exp(shift * (bright - bright.mean()) / bright.std()), 0.0)
    drawn = rng.choice(len(labels), rows, p=weights / weights.sum())
    return LabelledPredictions(
        predictions=Predictions(
            features={f"x{at}": pictures[drawn, at] for at in range(64)}, scores=scores[drawn]
        ),
        labels=labels[drawn],
    )


_DIGITS: Final = _digits()
SHIFTED: Final[Mapping[str, Made]] = {"synthetic": noisy, "digits": digits}


def shifted(name: str, seed: int, size: Size) -> list[dict[str, Any]]:
    """Return mean errors of accuracy by shift, of CBPE and of PAPE."""
    rng = np.random.default_rng([seed, len(name)])
    made = SHIFTED[name]
    reference = made(rng, _REFERENCE, 0.0)
    estimates = {"cbpe": fit_cbpe(reference), "pape": fit_pape(reference)}
    found = []
    for shift in SHIFTS:
        errors: dict[str, list[float]] = {which: [] for which in estimates}
        for _ in range(max(size.windows // 4, 1)):
            rows = made(rng, CHUNK * 2, shift)
            truth = realised_class_figures(rows)["accuracy"]
            for which, figures in estimates.items():
                errors[which].append(abs(figures(rows.predictions)["accuracy"] - truth))
        means = {which: float(np.mean(values)) for which, values in errors.items()}
        found.append({"stream": name, "seed": seed, "shift": shift, **means})
    return found


def wandering(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Return levels of windows that wander as AR(1) with φ = 0.5, for each row, [rows]."""
    level, levels = float(rng.normal()), []
    for _ in range(-(-rows // CHUNK)):
        level = 0.5 * level + float(rng.normal()) * np.sqrt(0.75)
        levels.append(level)
    return np.repeat(levels, CHUNK)[:rows] * _WANDER


def classes_over_time(rng: np.random.Generator, rows: int) -> LabelledPredictions:
    """A classifier whose inputs and whose concept wander."""
    given = noisy(rng, rows, 0.0)
    x = {name: values.copy() for name, values in given.predictions.features.items()}
    x["x0"] = x["x0"] + wandering(rng, rows)
    slope = 4 + wandering(rng, rows)
    labels = rng.random(rows) < expit(slope * x["x1"] * expit(-2 * x["x0"]))
    return LabelledPredictions(
        predictions=Predictions(features=x, scores=given.predictions.scores),
        labels=labels.astype(np.int64),
        time=np.arange(rows, dtype=np.float64),
    )


def numbers_over_time(rng: np.random.Generator, rows: int) -> LabelledPredictions:
    """A regression on scikit-learn's Friedman function, whose inputs and noise wander."""
    seeds = rng.integers(2**31, size=2)
    learnt, truth = make_friedman1(400, noise=1.0, random_state=int(seeds[0]))
    model = HistGradientBoostingRegressor(max_iter=50, random_state=0).fit(learnt, truth)
    x, _ = make_friedman1(rows, noise=0.0, random_state=int(seeds[1]))
    x[:, 3] = np.clip(x[:, 3] + 0.3 * wandering(rng, rows), 0, 1)
    clean = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    clean += 10 * x[:, 3] + 5 * x[:, 4]
    noise = (0.5 + x[:, 0]) * np.exp(0.3 * wandering(rng, rows))
    return LabelledPredictions(
        predictions=Predictions(
            features={f"x{at}": x[:, at] for at in range(10)}, predicted=model.predict(x)
        ),
        labels=clean + noise * rng.normal(size=rows),
        time=np.arange(rows, dtype=np.float64),
    )


OVER_TIME: Final[Mapping[str, tuple[Callable[..., LabelledPredictions], tuple[str, ...]]]] = {
    "classifier": (classes_over_time, ("accuracy", "auroc", "log_loss", "brier")),
    "regression": (numbers_over_time, ("mae", "rmse")),
}


def covered(name: str, seed: int, size: Size) -> dict[str, Any]:
    """Return in how many windows after the reference the realised value is in the band."""
    make, metrics = OVER_TIME[name]
    rng = np.random.default_rng([seed, len(name), 7])
    stream = make(rng, _REFERENCE + size.windows * CHUNK)
    places = np.arange(stream.n)
    reference = stream.take(places[:_REFERENCE])
    fitted = _fitted(reference)
    figures = fitted.figures()
    realise = realised_class_figures if name == "classifier" else realised_number_figures
    inside = dict.fromkeys(metrics, 0)
    for at in range(size.windows):
        first = _REFERENCE + at * CHUNK
        rows = stream.take(places[first : first + CHUNK])
        truth = realise(rows)
        estimates = figures.estimate(_binned(fitted, rows.predictions))
        for metric in metrics:
            inside[metric] += estimates[metric].low <= truth[metric] <= estimates[metric].high
    return {
        "stream": name, "seed": seed, "method": fitted.method, "windows": size.windows,
        "inside": {metric: int(count) for metric, count in inside.items()},
    }  # fmt: skip


def _fitted(reference: LabelledPredictions) -> FittedEstimation:
    given = reference.predictions
    without = Predictions(features={}, scores=given.scores, predicted=given.predicted)
    return fit_estimation(given.features, without, reference.labels, reference.time, CHUNK)


def _binned(fitted: FittedEstimation, rows: Predictions) -> Predictions:
    codes = fitted.columns.codes(rows.features, rows.n)
    return Predictions(
        features=fitted.columns.features(codes), scores=rows.scores, predicted=rows.predicted
    )


def measure(size: Size) -> dict[str, Any]:
    """Simulate everything; returns figures as JSON values."""
    return {
        "size": asdict(size),
        "shifted": [
            each for name in SHIFTED for seed in range(size.seeds)
            for each in shifted(name, seed, size)
        ],
        "covered": [
            covered(name, seed, size) for name in OVER_TIME for seed in range(size.seeds)
        ],
    }  # fmt: skip


def tables(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    size = found["size"]
    lines = [
        "# Performance without labels",
        "",
        (
            f"Mean |estimate - realised accuracy| over windows of {2 * CHUNK} rows whose inputs "
            f"are shifted, from a reference of {_REFERENCE:,} rows that are not; {size['seeds']} "
            f"seeds. Realised values have a sampling error themselves, which no estimate can undo."
        ),
        "",
        "| Stream | Shift | CBPE | PAPE |",
        "|---|---|---|---|",
    ]
    for name in SHIFTED:
        for shift in SHIFTS:
            rows = [e for e in found["shifted"] if (e["stream"], e["shift"]) == (name, shift)]
            cbpe, pape = (float(np.mean([each[which] for each in rows])) for which in _BOTH)
            lines.append(f"| {name} | {shift:g} | {cbpe:.4f} | {pape:.4f} |")
    lines += [
        "",
        (
            f"Windows of {CHUNK} rows whose realised value is inside the conformal band (90 % are "
            f"stated), on streams whose inputs and concept wander by nature (AR(1)) in the "
            f"reference and after it; the last columns are of single streams."
        ),
        "",
        "| Stream | Metric | Methods | Windows | Inside | Median stream | Worst stream |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (_, metrics) in OVER_TIME.items():
        streams = [each for each in found["covered"] if each["stream"] == name]
        methods = "/".join(sorted({each["method"] for each in streams}))
        for metric in metrics:
            shares = [each["inside"][metric] / each["windows"] for each in streams]
            windows = sum(each["windows"] for each in streams)
            lines.append(
                f"| {name} | {metric} | {methods} | {windows:,} | {np.mean(shares):.1%} | "
                f"{np.median(shares):.0%} | {min(shares):.0%} |"
            )
    return "\n".join(lines) + "\n"


_BOTH: Final = ("cbpe", "pape")
EXPERIMENT: Final = Experiment(
    name="estimates",
    about=__doc__,
    measure=lambda full: measure(FULL if full else QUICK),
    tables=tables,
)

if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
