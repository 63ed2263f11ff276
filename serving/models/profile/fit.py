"""Fits what guards, monitors and explanations must know about a version before it serves."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from guards.guard import Stage
from monitors.estimation.fitted import FittedEstimation
from monitors.reference.learnt_metric import Learnt
from monitors.reference.profile import ReferenceProfile
from serving.config import ConfigError, GuardSection, InputSpec, ModelConfig, descriptor_of
from serving.config.guards.descriptor import ReferenceRows, lacks_features
from serving.models.contract import Model, Prediction, Tensors
from serving.models.formats.loader import load
from serving.models.preparation import deviation
from serving.models.profile.answers import answers_of, uncompiled
from serving.models.profile.columns import input_columns
from serving.models.profile.dataset import DataColumns, Dataset, read_dataset, write_dataset
from serving.models.profile.files import (
    BASELINE,
    DRIFT,
    ESTIMATION,
    PERFORMANCE,
    REFERENCE,
    archive,
    learned_path,
    write_performance,
)
from serving.models.profile.not_learnt import not_learnt, not_learnt_of_rows
from serving.models.profile.performance import performance_of
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import renew_digest
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.weight import weight

Progress = Callable[[str, int, int], None]
"""Told of every step: what is being done, steps done, steps in all."""

REPORT_ROWS: Final = 10_000
REPORT_BYTES: Final = 64 << 20
"""Bounds of the rows that are kept for the drift report."""

_BATCH: Final = 256
_HELD_OUT_SHARE: Final = 0.3
_LEAST_FREQUENT: Final = 20  # rows that a text needs, because a rare one may identify somebody


def fit_profile(
    entry: ModelEntry,
    reference: Path,
    heldout: Path | None = None,
    progress: Progress = lambda what, done, total: None,
    *,
    columns: DataColumns | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Write `<version>/profile/` and `<version>/reference.parquet`; return the files written.

    - `drift.json`: bins and counts of every column of the inputs, over all rows, and of what the
      model answers to them; with a time column also window by window.
    - `<guard>.npz`: for every guard of the model that learns, as `mahalanobis` does: what it
      learned from `reference` and `heldout`.
    - `performance.json`: of held-out rows with labels, how good the model is on them, and from
      which value on it would not be.
    - `estimation.npz`: of held-out rows with labels, if there are enough: scores or answers,
      labels and bins of the inputs, from which performance is estimated without labels.
    - `baseline.json`: the mean row of every numeric input, and of text the most frequent value of
      every column, over all rows.
    - `reference.parquet`: the inputs of at most `REPORT_ROWS` rows, spread over all of them, for
      the drift report; no sensitive input and no label. It stays as it is where it is `reference`.

    Args:
        entry: the version to profile.
        reference: Parquet or CSV file of rows that look like the training data, best the training
            rows themselves.
        heldout: Parquet or CSV file of rows that the model was not trained on. Without it a fixed
            random 30 % of `reference` is held out of the fit; if the model was trained on
            those rows, more new rows than stated will be flagged.
        progress: told of every step.
        columns: what columns of the files are that are no inputs.
        told: told in a sentence each what could not be learnt.

    Raises:
        ConfigError: a file or a column is missing, there are too few rows for the guard, or the
            converted model deviates on the held-out rows by more than its tolerance.
    """
    fitted = read_dataset(reference, entry.config, columns)
    if heldout:
        held = read_dataset(heldout, entry.config, columns)
    else:
        fitted, held = _hold_out(fitted)
    for line in not_learnt_of_rows(fitted, entry.config):
        told(line)
    inputs = {
        name: np.concatenate([fitted.inputs[name], held.inputs[name]])
        for name in fitted.inputs.keys() & held.inputs.keys()
    }
    if entry.config.precision != "fp32":
        _require_precision(entry, held)
    times = None
    if fitted.time is not None and held.time is not None:
        times = np.concatenate([fitted.time, held.time])
    answers = answers_of(entry, inputs, times, told, partial(progress, "answers"))
    entry.profile.mkdir(exist_ok=True)
    written = [_write_drift(entry, inputs, times, answers, told)]
    progress("profile", 1, 3)
    learning = [guard for guard in entry.config.guards if descriptor_of(guard).fit is not None]
    if learning:
        written += _write_guards(entry, learning, fitted, held)
    progress("profile", 2, 3)
    held_out = performance_of(entry, held, told)
    written += _write_performance(entry, held_out.thresholds)
    written += _write_estimation(entry, held_out.estimation)
    written.append(_write_baseline(entry, inputs))
    written.append(_write_reference(entry, reference, inputs))
    progress("profile", 3, 3)
    return written


def _require_precision(entry: ModelEntry, held: Dataset) -> None:
    """Measure what the conversion changes on real rows; an example has only a few."""
    plain = uncompiled(entry)
    served = load(plain, "cpu")
    reference = load(deviation.as_made(entry), "cpu")
    batches = (
        {name: array[start : start + _BATCH] for name, array in held.inputs.items()}
        for start in range(0, held.rows, _BATCH)
    )
    found = deviation.measure(plain, served, reference, batches)
    deviation.require_tolerable(plain, found, "the held-out rows")


def _hold_out(dataset: Dataset) -> tuple[Dataset, Dataset]:
    order = np.random.default_rng(0).permutation(dataset.rows)
    held = int(dataset.rows * _HELD_OUT_SHARE)
    return dataset.take(np.sort(order[held:])), dataset.take(np.sort(order[:held]))


def _write_drift(
    entry: ModelEntry,
    inputs: Tensors,
    times: np.ndarray | None,
    answers: ReferenceProfile | None,
    told: Callable[[str], None],
) -> Path:
    fitted = ReferenceProfile.fit(input_columns(inputs, entry.config), times=times)
    for line in not_learnt(fitted, ordered=times is not None):
        told(line)
    profile = replace(fitted, outputs=answers)
    path = entry.profile / DRIFT
    return _replace(path, msgspec.json.encode(profile.to_dict()))


def _write_performance(entry: ModelEntry, learnt: Mapping[str, Learnt]) -> list[Path]:
    path = entry.profile / PERFORMANCE
    if not learnt:
        # What an earlier profile has learnt is of other rows than the rest.
        path.unlink(missing_ok=True)
        return []
    return [_replace(path, write_performance(learnt))]


def _write_estimation(entry: ModelEntry, estimation: FittedEstimation | None) -> list[Path]:
    path = entry.profile / ESTIMATION
    if estimation is None:
        path.unlink(missing_ok=True)
        return []
    return [_replace(path, archive(estimation.to_arrays()))]


def _write_guards(
    entry: ModelEntry, guards: list[GuardSection], fitted: Dataset, held: Dataset
) -> list[Path]:
    model = load(uncompiled(entry), "cpu")
    for guard in guards:
        if descriptor_of(guard).stage is Stage.FEATURES and not model.capabilities.features:
            raise lacks_features(entry.name, guard.name)
    rows = [_reference_rows(model, entry.config, dataset) for dataset in (fitted, held)]
    written = []
    for guard in guards:
        fit = descriptor_of(guard).fit
        assert fit is not None
        try:
            arrays: dict[str, Any] = fit(guard, *rows)
        except ValueError as error:
            raise ConfigError(f"model '{entry.name}': guard {guard.name}: {error}") from None
        written.append(_replace(learned_path(entry, guard.name), archive(arrays)))
    return written


def _reference_rows(model: Model, config: ModelConfig, dataset: Dataset) -> ReferenceRows:
    found = []
    for start in range(0, dataset.rows, _BATCH):
        batch = {name: array[start : start + _BATCH] for name, array in dataset.inputs.items()}
        if model.capabilities.features:
            found.append(model.predict_with_features(batch))
        else:
            found.append(Prediction(model.predict(batch)))
    outputs = {
        name: np.concatenate([each.outputs[name] for each in found]) for name in found[0].outputs
    }
    features = [each.features for each in found if each.features is not None]
    return ReferenceRows(
        inputs=dataset.inputs,
        outputs=outputs,
        features=np.concatenate(features) if features else None,
        classes=_classes(dataset, outputs[config.outputs[0].name]),
    )


def _classes(dataset: Dataset, outputs: np.ndarray) -> np.ndarray | None:
    if dataset.y_true is not None:
        return np.unique(dataset.y_true.astype(str), return_inverse=True)[1]
    if outputs.ndim != 2:
        return None
    # Without labels the predicted class is the next best grouping of the features.
    predicted: np.ndarray = outputs.argmax(axis=1)
    return predicted


def _write_baseline(entry: ModelEntry, inputs: Tensors) -> Path:
    typical: dict[str, Any] = {}
    for spec in entry.config.inputs:
        if not spec.sensitive and spec.name in inputs:
            array = inputs[spec.name]
            row = _most_frequent(spec, array) if spec.datatype == "BYTES" else _mean(spec, array)
            typical[spec.name] = row.tolist()
    identifier = hashlib.sha256(msgspec.json.encode(typical)).hexdigest()[:16]
    path = entry.profile / BASELINE
    return _replace(path, msgspec.json.encode({"id": identifier, "inputs": typical}))


def _write_reference(entry: ModelEntry, source: Path, inputs: Tensors) -> Path:
    path = entry.directory / REFERENCE
    if path.exists() and path.samefile(source):
        return path
    seen = {s.name: inputs[s.name] for s in entry.config.inputs if not s.sensitive}
    dataset = Dataset(seen)
    size = max(sum(map(weight, seen.values())), 1)
    most = min(REPORT_ROWS, max(REPORT_BYTES * dataset.rows // size, 1))
    kept = np.unique(np.linspace(0, dataset.rows - 1, min(most, dataset.rows)).astype(np.int64))
    unfinished = path.with_name(f".{path.name}.unfinished")
    write_dataset(unfinished, dataset.take(kept), entry.config)
    unfinished.replace(path)
    renew_digest(entry.directory, path.name)
    return path


def _mean(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    values = bf16_to_fp32(array) if spec.datatype == "BF16" else array
    # Missing values are for the guard to judge; the mean is of those that are there.
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    mean: np.ndarray = total / np.maximum(known.sum(axis=0), 1)
    return mean


def _most_frequent(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    """Per column, object array of str; a value too rare to tell about is replaced."""
    columns = array.reshape(len(array), -1)
    row = np.full(columns.shape[1], "", dtype=object)
    for index in range(columns.shape[1]):
        value, times = Counter(columns[:, index].tolist()).most_common(1)[0]
        declared = spec.features[index].categories if spec.features else None
        if times >= _LEAST_FREQUENT:
            row[index] = value.decode("utf-8", "replace")
        elif declared:
            row[index] = declared[0]
    return row.reshape(array.shape[1:])


def _replace(path: Path, content: bytes) -> Path:
    # A replica that starts meanwhile must find the old file or the new one, never half of it.
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    return unfinished.replace(path)
