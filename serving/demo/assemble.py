"""Puts a trained demo model's folder together: configuration, data, example and profile."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from serving.config import InputSpec, ModelConfig, load_model
from serving.models.profile.dataset import Dataset, write_dataset
from serving.models.profile.files import REFERENCE
from serving.models.profile.fit import Progress, fit_profile
from serving.models.repository.folder import ModelRepository

VERSION: Final = "1"
HELD_OUT: Final = "heldout.parquet"
TEST: Final = "test.parquet"


@dataclass(frozen=True, slots=True)
class Splits:
    """Rows for three purposes that must not share any.

    Attributes:
        reference: the training rows; guards and drift take them as what is normal.
        heldout: sets the guard's threshold, which training rows would make too low.
        test: for whoever tries the model out.
    """

    reference: Dataset
    heldout: Dataset
    test: Dataset


def split(dataset: Dataset, heldout: float, test: float, seed: int) -> Splits:
    """Split into shares `heldout`, `test` and the rest, with every class alike in each part."""
    order = np.random.default_rng(seed).permutation(dataset.rows)
    labels = np.asarray(dataset.y_true)[order]
    part = np.empty(dataset.rows, np.int64)
    for label in np.unique(labels.astype(str)):
        (members,) = np.nonzero(labels.astype(str) == label)
        place = (np.arange(len(members)) + 0.5) / len(members)
        part[members] = (place < heldout + test).astype(int) + (place < test)
    return Splits(*(dataset.take(order[part == wanted]) for wanted in (0, 1, 2)))


def assemble(folder: Path, config: str, splits: Splits, progress: Progress) -> None:
    """Complete the model's `folder`, which has its weights already.

    Args:
        folder: `<models>/<name>`.
        config: name of the file in `serving/demo/configs` that becomes `model.yaml`.
        splits: written as Parquet files beside the weights.
        progress: told of every step of the profile.
    """
    text = resources.files("serving.demo").joinpath("configs", config).read_text(encoding="utf-8")
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    loaded = load_model(folder)
    example = _example(splits.test, loaded)
    (folder / "example.json").write_bytes(msgspec.json.format(msgspec.json.encode(example)))
    version = folder / VERSION
    write_dataset(version / REFERENCE, splits.reference, loaded)
    write_dataset(version / HELD_OUT, splits.heldout, loaded)
    write_dataset(version / TEST, splits.test, loaded)
    entry = ModelRepository(folder.parent).get(folder.name)
    fit_profile(entry, version / REFERENCE, version / HELD_OUT, progress)


def _example(rows: Dataset, config: ModelConfig) -> dict[str, Any]:
    return {"inputs": [_tensor(rows.inputs[spec.name][:2], spec) for spec in config.inputs]}


def _tensor(array: np.ndarray, spec: InputSpec) -> dict[str, Any]:
    flat = array.ravel().tolist()
    data = [value.decode() for value in flat] if spec.datatype == "BYTES" else flat
    return {
        "name": spec.name,
        "shape": list(array.shape),
        "datatype": spec.datatype,
        "data": data,
    }
