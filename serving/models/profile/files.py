"""The files that `vigil profile` leaves beside a version, and their readers.

The roles read them without torch, so fitting lives elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import numpy as np

from monitors.reference.learnt_metric import Learnt
from monitors.reference.profile import ReferenceProfile
from serving.config import ConfigError
from serving.models.repository.folder import ModelEntry

if TYPE_CHECKING:
    from monitors.estimation.fitted import FittedEstimation

T = TypeVar("T")

DRIFT: Final = "drift.json"
PERFORMANCE: Final = "performance.json"
ESTIMATION: Final = "estimation.npz"
BASELINE: Final = "baseline.json"
REFERENCE: Final = "reference.parquet"
"""Beside the weights, not in `profile/`: rows for the drift report."""


class Baseline(msgspec.Struct, frozen=True):
    """The point that explanations start from.

    Attributes:
        id: changes whenever the values do.
        inputs: one row per input, as nested lists of numbers or texts without the row axis.
    """

    id: str
    inputs: dict[str, list[object]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the baseline as arrays `[1, ...]` by input name: float64, or objects of bytes."""
        return {name: _baseline_row(row) for name, row in self.inputs.items()}


def _baseline_row(row: list[object]) -> np.ndarray:
    # Of objects, since numpy's own texts lose zeros at their end.
    array = np.array([row], dtype=object)
    if not any(isinstance(value, str) for value in array.flat):
        return array.astype(np.float64)
    array.ravel()[:] = [text.encode() for text in array.flat]
    return array


def read_drift_reference(entry: ModelEntry) -> ReferenceProfile | None:
    """Return the reference for drift, or None if the version has no profile.

    Raises:
        ConfigError: the file is damaged.
    """
    return _read(
        entry.profile / DRIFT, lambda raw: ReferenceProfile.from_dict(msgspec.json.decode(raw))
    )


def write_performance(learnt: Mapping[str, Learnt]) -> bytes:
    """Return the content of the file that `read_performance` reads."""
    metrics = {name: each._asdict() for name, each in learnt.items()}
    return msgspec.json.encode({"metrics": metrics})


def read_performance(entry: ModelEntry) -> dict[str, Learnt] | None:
    """Return what was learnt of each metric of performance, or None if there is no such file.

    Raises:
        ConfigError: the file is damaged.
    """

    def learnt(raw: bytes) -> dict[str, Learnt]:
        found = msgspec.json.decode(raw, type=dict[str, dict[str, dict[str, float]]])
        return {
            name: Learnt(each["value"], each["threshold"], int(each["rows"]))
            for name, each in found["metrics"].items()
        }

    return _read(entry.profile / PERFORMANCE, learnt)


def learned_path(entry: ModelEntry, guard: str) -> Path:
    """Return where a version has what a guard has learned."""
    return entry.profile / f"{guard}.npz"


def read_learned(entry: ModelEntry, guard: str) -> dict[str, np.ndarray] | None:
    """Return the arrays that a guard has learned, or None if the version has no profile for it.

    Raises:
        ConfigError: the file is damaged.
    """

    return _read(learned_path(entry, guard), _arrays)


def archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a file that holds arrays by name."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _arrays(raw: bytes) -> dict[str, np.ndarray]:
    # From memory: numpy leaves the file open when it turns out to be no archive.
    with np.load(io.BytesIO(raw), allow_pickle=False) as found:
        return dict(found)


def read_estimation(entry: ModelEntry) -> FittedEstimation | None:
    """Return how performance is estimated without labels, or None if there is no such file.

    Raises:
        ConfigError: the file is damaged.
    """

    def fitted(raw: bytes) -> FittedEstimation:
        # Here, because only the monitor reads it, and few versions have it.
        from monitors.estimation.fitted import FittedEstimation

        return FittedEstimation.from_arrays(_arrays(raw))

    return _read(entry.profile / ESTIMATION, fitted)


def read_baseline(entry: ModelEntry) -> Baseline | None:
    """Return the baseline for explanations, or None if the version has no profile.

    Raises:
        ConfigError: the file is damaged.
    """

    def baseline(raw: bytes) -> Baseline:
        found = msgspec.json.decode(raw, type=Baseline)
        found.arrays()  # here, so that whatever is no array is named before anybody asks
        return found

    return _read(entry.profile / BASELINE, baseline)


def _read(path: Path, make: Callable[[bytes], T]) -> T | None:
    if not path.is_file():
        return None
    try:
        return make(path.read_bytes())
    except Exception as error:  # noqa: BLE001 - it may hold anything
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> ConfigError:
    """Return what is said of a file that cannot be read."""
    return ConfigError(
        f"{path}: damaged ({type(error).__name__}: {error}); run `vigil profile` again"
    )
