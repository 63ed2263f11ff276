"""How long until many sklearn models answer: `python -m loadtest.startup_storm [--models 40]`.

Makes estimators of several kinds, starts the local engine with all of them, and waits until each
has answered its example. `--write` leaves `startup-storm.json` in `loadtest/results`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from loadtest import facts, memory, vigil
from loadtest.home import ROOT, bench_home
from loadtest.process import Server, cpu_seconds, only_one, stop_on_sigterm
from loadtest.vigil import Variant

CONFIG = """format: sklearn
trust_code: true
inputs: [{name: x, datatype: FP64, shape: [-1, 8]}]
outputs: [{name: y, datatype: FP64, shape: [-1, 3]}]
example: example.json
"""


def estimators() -> list[Callable[[], Any]]:
    """Return what makes each kind of estimator; all give probabilities of three classes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [
        lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        lambda: RandomForestClassifier(50, n_jobs=-1, random_state=0),
        lambda: HistGradientBoostingClassifier(max_iter=20),
        lambda: GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}, cv=2),
    ]


def make(folder: Path, count: int) -> Path:
    """Make a repository of `count` fitted models, and return it."""
    from skops import io

    from serving.models.repository.manifest import write_manifest

    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8))
    y = np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6])
    stored = [io.dumps(kind().fit(x, y)) for kind in estimators()]
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 8], "data": x[:2].ravel().tolist()}
    for number in range(count):
        version = folder / f"storm-{number:03}" / "1"
        version.mkdir(parents=True)
        (version / "model.skops").write_bytes(stored[number % len(stored)])
        write_manifest(version, ["model.skops"])
        (version.parent / "model.yaml").write_text(CONFIG)
        (version.parent / "example.json").write_text(json.dumps({"inputs": [tensor]}))
    return folder


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.startup_storm", description=__doc__)
    parser.add_argument("--models", type=int, choices=range(1, 501), default=40, metavar="N")
    parser.add_argument("--write", action="store_true", help="save to loadtest/results")
    options = parser.parse_args()
    stop_on_sigterm()
    home = bench_home()
    with only_one(home):
        models = make(home / "storm-models", options.models)
        began = time.perf_counter()
        server = vigil.start(home, Variant("local", checks=False), models)
        try:
            seconds = _answered(server, models, began)
            found = memory.costs(server.process.pid)
            cpu_s = cpu_seconds(server.process.pid)
        finally:
            server.stop()
    console = Console()
    console.print(
        f"{options.models} models: the last one answered after {seconds:.1f} s, "
        f"{cpu_s:.1f} s of processor time"
    )
    console.print(memory.table(found))
    if options.write:
        result = {
            "facts": facts.machine(),
            "models": options.models,
            "seconds": round(seconds, 1),
            "processor_seconds": round(cpu_s, 1),
            "processes": len(found),
            "pss_mib": round(memory.total(found)),
        }
        path = ROOT / "loadtest" / "results" / "startup-storm.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _answered(server: Server, models: Path, began: float) -> float:
    """Ask every model; readiness says that all of them answer."""
    for example in sorted(models.glob("*/example.json")):
        memory.ask(server, example.parent.name, example.read_bytes())
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
