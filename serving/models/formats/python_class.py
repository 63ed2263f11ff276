"""Format `python`: any object with `predict(inputs) -> outputs`, built by a factory in a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from serving.config import ConfigError
from serving.models.array_model import ArrayModel, Run
from serving.models.execution.core_limit import hold_cores
from serving.models.formats.factory import run_factory
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verify_all


def load_python(entry: ModelEntry, _device: str) -> ArrayModel:
    """Build the object that `factory` names.

    Its `predict` takes arrays by input name and returns arrays by output name, of exactly the
    datatypes and shapes that `model.yaml` declares; BYTES are object arrays of bytes, and BF16 are
    their bits in uint16. The arrays it is given are read-only and another's memory: to write, copy
    first. Those that it returns are copied, so it may use their memory again. A method
    `predict_with_features`, if there is one, returns the same and `features`, an array [rows,
    width]. Either may raise `serving.errors.InvalidInput` with one sentence for the client, who
    gets 400; the rest of the batch goes on. Every file in the manifest is checked first, since the
    class may open any of them beside its `__file__`.

    Raises:
        ConfigError: code is not trusted, a file is missing or is not the one in the manifest,
            or the factory does not give an object with a method `predict`.
    """
    if entry.config.trust_code:
        verify_all(entry.directory)
    path, built = run_factory(entry)
    predict = getattr(built, "predict", None)
    if not callable(predict):
        raise ConfigError(
            f"{path}: {entry.config.factory} must return an object with a method predict"
        )
    cores = entry.config.replicas.cores
    with_features = getattr(built, "predict_with_features", None)
    return ArrayModel(
        entry,
        partial(_run, cores, predict),
        partial(_run, cores, with_features) if with_features else None,
        is_own_code=True,
    )


def _run(cores: int, run: Run, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    hold_cores(cores)
    return run(inputs)
