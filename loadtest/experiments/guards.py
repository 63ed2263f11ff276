"""`python -m loadtest.experiments.guards`: what do guards find that nobody showed them before?

Three networks on data that comes with scikit-learn. Each guard learns from half of the rows, takes
its threshold for 5 % of false positives from a quarter, and is tried on the last quarter, on rows
that are foreign, and on attacks: those that do not know the guard, and one that does.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from guards.binomial import binomial_bounds
from guards.feature.distance import DistanceGuard
from guards.feature.mahalanobis import MahalanobisGuard
from guards.rows import Rows
from loadtest.experiments.guarded_nets import (
    Guarded,
    aware,
    cancer,
    digits,
    many_steps,
    one_step,
    photographs,
)
from loadtest.experiments.running import Experiment

RATE: Final = 0.05
UNSEEN: Final = range(10)
NAMES: Final = ("mahalanobis", "distance")
Judge = Callable[[np.ndarray], np.ndarray]
"""Takes rows; returns scores in multiples of the threshold."""


def judges(guarded: Guarded) -> dict[str, Judge]:
    """Return every guard, fitted and calibrated."""
    rows, classes = guarded.fitted
    features, held = guarded.features(rows), guarded.features(guarded.held[0])
    distance = DistanceGuard().fit(features, classes).calibrate(held, RATE)
    mahalanobis = MahalanobisGuard().fit(features, classes).calibrate(held, RATE)

    def by_distance(rows: np.ndarray) -> np.ndarray:
        return distance.score(guarded.features(rows))

    def by_mahalanobis(rows: np.ndarray) -> np.ndarray:
        return mahalanobis.score(guarded.features(rows)) / mahalanobis.threshold

    return {"mahalanobis": by_mahalanobis, "distance": by_distance}


def told(clean: np.ndarray, strange: np.ndarray) -> dict[str, float]:
    """Return how well scores tell strange rows from clean ones."""
    capped = np.minimum(np.concatenate([clean, strange]), 1e12)
    truth = np.repeat([0, 1], [len(clean), len(strange)])
    flagged = int((strange > 1).sum())
    low, high = binomial_bounds(flagged, len(strange), 0.95)
    return {
        "auroc": round(float(roc_auc_score(truth, capped)), 4),
        "flagged": round(flagged / len(strange), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "rows": len(strange),
    }


def tried(guarded: Guarded, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each guard makes of each kind of rows."""
    truth = guarded.clean[1]
    attacks = {
        "FGSM": one_step(guarded),
        "PGD": many_steps(guarded),
        "PGD that knows the guard": aware(guarded, seed),
    }
    for name, judge in judges(guarded).items():
        clean = judge(guarded.clean[0])
        normal = told(clean, clean)
        by_class = [float((clean[truth == each] > 1).mean()) for each in np.unique(truth)]
        which = {"model": guarded.name, "seed": seed, "guard": name}
        yield {**which, "kind": "normal", **normal, "worst_class": round(max(by_class), 4)}
        for kind, rows in guarded.foreign.items():
            yield {**which, "kind": kind, **told(clean, judge(rows))}
        if "unseen class" in guarded.foreign:
            continue
        for kind, rows in attacks.items():
            fooled = guarded.wrong(rows)
            if fooled.any():
                share = round(float(fooled.mean()), 4)
                yield {**which, "kind": kind, **told(clean, judge(rows[fooled])), "fooled": share}


def costs(guarded: Guarded) -> dict[str, float]:
    """Return microseconds of a forward and of each guard's check, alone and for 64 rows."""
    rows, classes = guarded.fitted
    features, held = guarded.features(rows), guarded.features(guarded.held[0])
    made = {
        "distance": DistanceGuard().fit(features, classes).calibrate(held, RATE),
        "mahalanobis": MahalanobisGuard().fit(features, classes).calibrate(held, RATE),
    }
    found: dict[str, float] = {}
    for n in (1, 64):
        batch = Rows(n, features=np.ascontiguousarray(features[:n]))
        x = torch.tensor(rows[:n], dtype=torch.float32)
        for name, guard in made.items():
            found[f"{name} {n}"] = _microseconds(
                lambda guard=guard, batch=batch: guard.check(batch)
            )
        with torch.inference_mode():
            found[f"forward {n}"] = _microseconds(lambda x=x: guarded.net(x))
    return found


def _microseconds(call: Callable[[], object]) -> float:
    return round(min(timeit.repeat(call, number=50, repeat=7)) / 50 * 1e6, 1)


def measure(full: bool) -> dict[str, Any]:
    """Try all guards on all models; returns figures as JSON values."""
    torch.set_num_threads(1)
    seeds = 10 if full else 2
    found: list[dict[str, Any]] = []
    for seed in range(seeds):
        for make in (digits, photographs, cancer):
            found += tried(make(seed), seed)
    for seed, unseen in enumerate(UNSEEN):
        found += tried(digits(seed, unseen), seed)
    return {"seeds": seeds, "tried": found, "microseconds": costs(digits(0))}


def pooled(tries: list[Mapping[str, Any]]) -> dict[str, float]:
    """Return one line of several tries: means, and the interval of all rows together."""
    rows = sum(each["rows"] for each in tries)
    hits = sum(round(each["flagged"] * each["rows"]) for each in tries)
    low, high = binomial_bounds(hits, rows, 0.95)
    auroc = float(np.mean([each["auroc"] for each in tries]))
    return {"auroc": auroc, "flagged": hits / rows, "low": low, "high": high}


def tables(found: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# What guards find",
        "",
        (
            f"Share of rows that are flagged at a stated false-positive rate of {RATE:.0%} (95 % "
            "interval of all rows together), and AUROC; of attacks the rows that fooled the model. "
            f"{found['seeds']} seeds; `unseen class`: each of the ten digits once."
        ),
        "",
        "| Model | Rows | mahalanobis | distance |",
        "| --- | --- | --- | --- |",
    ]
    kinds = dict.fromkeys((each["model"], each["kind"]) for each in found["tried"])
    for model, kind in kinds:
        cells = []
        for guard in NAMES:
            some = [
                each for each in found["tried"]
                if (each["model"], each["kind"], each["guard"]) == (model, kind, guard)
            ]  # fmt: skip
            line = pooled(some)
            cell = f"{line['flagged']:.3f} [{line['low']:.3f}, {line['high']:.3f}]"
            if kind == "normal":
                worst = float(np.mean([each["worst_class"] for each in some]))
                cell += f", worst class {worst:.3f}"
            else:
                cell += f", {line['auroc']:.3f}"
            cells.append(cell)
        lines.append(f"| {model} | {kind} | {' | '.join(cells)} |")
    cost = found["microseconds"]
    lines += [
        "",
        (
            f"Cost on `digits`, one thread: a forward of a row takes {cost['forward 1']:.0f}, "
            f"`distance` {cost['distance 1']:.0f}, `mahalanobis` {cost['mahalanobis 1']:.0f} us; "
            f"of 64 rows {cost['forward 64']:.0f}, {cost['distance 64']:.0f} and "
            f"{cost['mahalanobis 64']:.0f} us."
        ),
        "",
    ]
    return "\n".join(lines)


EXPERIMENT: Final = Experiment(name="guards", about=__doc__, measure=measure, tables=tables)


if __name__ == "__main__":
    raise SystemExit(EXPERIMENT.main())
