"""Predicts with estimators that ask for eight threads or processes; tells how many were at work.

Each runs in a fork of a process that has computed nothing, because pools outlive a prediction.
There it has few cores first, which leave no pool to those that come after.
Some forks are there at once, for what they do most is wait for threads that are not to come.
Arguments: a folder, and each number of cores that a model may have, from few to many. Prints a JSON
object by cores and by estimator.
"""

import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import lightgbm
import numpy as np
import xgboost
from joblib import Parallel, delayed
from joblib.parallel import LokyBackend, MultiprocessingBackend, ThreadingBackend
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from skops import io
from threadpoolctl import threadpool_info

from serving.models.execution.core_limit import hold_cores
from serving.models.formats.loader import load
from serving.models.formats.sklearn.nesting import parts
from serving.models.repository.folder import ModelRepository
from serving.models.repository.manifest import write_manifest

X, Y = load_iris(return_X_y=True)
MANY = 8
FORKS = 14
CONFIG = """
format: sklearn
trust_code: true
inputs: [{{name: x, datatype: FP64, shape: [-1, 4]}}]
outputs: [{{name: y, datatype: INT64, shape: [{shape}], method: predict}}]
replicas: {{cores: {cores}}}
"""


class Meter:
    """How many threads are in `at_work` at once, at most."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.now = self.most = 0
        self.changed = threading.Condition()

    def at_work(self):
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            # Others that may start now do so while this one waits; enough of them end it.
            self.changed.wait_for(lambda: self.most > self.allowed, 0.05)
            self.now -= 1


meter = Meter(0)  # while they are fitted nobody waits


class Seen(TransformerMixin, BaseEstimator):
    """Passes on what it is given."""

    def fit(self, x, y=None):
        self.fitted_ = True
        return self

    def transform(self, x):
        meter.at_work()
        return x


class Guess(ClassifierMixin, BaseEstimator):
    """Says the first class."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, x):
        meter.at_work()
        return np.full(len(x), self.classes_[0])

    def predict_proba(self, x):
        meter.at_work()
        return np.tile(np.eye(len(self.classes_))[0], (len(x), 1))


class Own(ClassifierMixin, BaseEstimator):
    """Starts joblib itself, in the way that `how` names, and again in each job."""

    def __init__(self, how="loky"):
        self.how = how

    def fit(self, x, y):
        self.members_ = {"all": [Guess().fit(x, y) for _ in range(4)]}
        self.classes_ = self.members_["all"][0].classes_
        return self

    def predict(self, x):
        given = OWN[self.how]
        return Parallel(n_jobs=MANY, backend=given())(
            delayed(_again)(given, member, x) for member in self.members_["all"]
        )[0]


OWN = {
    "loky": lambda: "loky",
    "multiprocessing": lambda: "multiprocessing",
    "threading": lambda: "threading",
    "default": lambda: None,
    "loky object": LokyBackend,
    "multiprocessing object": MultiprocessingBackend,
    "threading object": ThreadingBackend,
    "context": lambda: multiprocessing.get_context("fork"),
}


def _again(given, member, x):
    jobs = (delayed(member.predict)(x) for _ in range(3))
    return Parallel(n_jobs=MANY, backend=given())(jobs)[0]


def forest():
    return RandomForestClassifier(8, random_state=0)


def guesses():
    return [(f"g{i}", Guess()) for i in range(4)]


def union():
    return FeatureUnion([(f"s{i}", make_pipeline(Seen())) for i in range(4)])


CASES = {
    "single": Guess,
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
    "forest": forest,
    "grid": lambda: GridSearchCV(
        BaggingClassifier(Guess(), 6), {"n_estimators": [6]}, cv=2, scoring="accuracy"
    ),
    "grid of forests": lambda: GridSearchCV(forest(), {"max_depth": [3]}, cv=2),
    "voting": lambda: VotingClassifier([("b", BaggingClassifier(Guess(), 6)), *guesses()]),
    "calibrated": lambda: CalibratedClassifierCV(BaggingClassifier(Guess(), 6), cv=2),
    "union": lambda: make_pipeline(union(), Guess()),
    "union in union": lambda: make_pipeline(
        FeatureUnion([("a", union()), ("b", union()), ("c", union())]), Guess()
    ),
    "columns": lambda: make_pipeline(
        ColumnTransformer([(f"c{i}", union(), [i]) for i in range(4)]), Guess()
    ),
    "stacking": lambda: StackingClassifier(
        [("b", BaggingClassifier(Guess(), 6)), ("f", forest())], Guess(), cv=2
    ),
    "bagging": lambda: BaggingClassifier(BaggingClassifier(Guess(), 6), 6),
    "one vs rest": lambda: OneVsRestClassifier(BaggingClassifier(Guess(), 6)),
    "outputs": lambda: MultiOutputClassifier(BaggingClassifier(Guess(), 6)),
    "hist gradient boosting": lambda: HistGradientBoostingClassifier(max_iter=3),
    "bagged hist gradient boosting": lambda: BaggingClassifier(
        HistGradientBoostingClassifier(max_iter=3), 6
    ),
    "neighbours by brute force": lambda: KNeighborsClassifier(algorithm="brute"),
    "neighbours by a tree": lambda: KNeighborsClassifier(algorithm="kd_tree"),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=3),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1),
    "bagged xgboost": lambda: BaggingClassifier(xgboost.XGBClassifier(n_estimators=3), 6),
    **{f"own {how}": lambda how=how: Own(how) for how in OWN},
}


def greedy(estimator):
    """Have every part of an estimator ask for many."""
    for part in parts(estimator):
        if "n_jobs" in getattr(part, "get_params", dict)():
            part.n_jobs = MANY
    return estimator


def served(estimator, cores, folder):
    """Return the model that serves an estimator."""
    shape = "-1, 3" if isinstance(estimator, MultiOutputClassifier) else "-1"
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "model.yaml").write_text(CONFIG.format(shape=shape, cores=cores))
    io.dump(estimator, folder / "m" / "1" / "model.skops")
    write_manifest(folder / "m" / "1", ["model.skops"])
    return load(ModelRepository(folder).get("m"), "cpu")


def threads():
    """Return how many threads are not Python's."""
    return len(list(Path("/proc/self/task").iterdir())) - threading.active_count()


def processes():
    """Return how many children there are."""
    found = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended in the meantime
            found += len((task / "children").read_text().split())
    return found


def tell(make, all_cores, folder):
    """Predict in this process and return what was at work, by cores."""
    forks = []
    os.register_at_fork(after_in_parent=lambda: forks.append(1))
    hold_cores(1)  # so that fitting leaves nothing behind
    targets = np.stack([Y, Y, Y], 1) if make is CASES["outputs"] else Y
    estimator = greedy(make().fit(X, targets))
    return {cores: at_work(estimator, int(cores), folder / cores, forks) for cores in all_cores}


def at_work(estimator, cores, folder, forks):
    """Predict with so many cores and return what was at work."""
    global meter
    before = threads()
    meter = Meter(cores)
    model = served(estimator, cores, folder)
    big = np.tile(X, (40, 1))
    for _ in range(2):
        model.predict({"x": big})
    # Each library keeps a pool of its own, in which the thread that calls it works as well.
    allowed = before + (cores - 1) * len(threadpool_info())
    until = time.monotonic() + 60
    while threading.active_count() > 1 or threads() > allowed:
        if time.monotonic() > until:
            break
        time.sleep(0.01)  # joblib's threads are on their way out
    return {
        "threads": meter.most,
        "too many in pools": max(0, threads() - allowed),
        "processes": len(forks) + processes(),
        "pools": sorted({pool["num_threads"] for pool in threadpool_info()}),
    }


def start(make, all_cores, folder):
    """Fork; returns the process and a file with what it will have found."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        place = Path(tempfile.mkdtemp(dir=folder))
        os.write(write, json.dumps(tell(make, all_cores, place)).encode())
        os._exit(0)
    os.close(write)
    return pid, os.fdopen(read, "rb")


def main(folder, *all_cores):
    found, started = {cores: {} for cores in all_cores}, {}
    for name, make in CASES.items():
        if len(started) == FORKS:
            collect(found, started)
        started[name] = start(make, all_cores, folder)
    while started:
        collect(found, started)
    print(json.dumps(found))


def collect(found, started):
    """Wait for the oldest fork."""
    name = next(iter(started))
    pid, told = started.pop(name)
    with told:
        seen = json.loads(told.read() or b"{}")
    for cores, by_name in found.items():
        by_name[name] = seen.get(cores)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
