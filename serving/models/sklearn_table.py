"""Makes the one table that a scikit-learn estimator takes of a model's inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serving.config import ConfigError, InputSpec
from serving.models.repository import ModelEntry

MakeTable = Callable[[dict[str, np.ndarray]], Any]


def table_maker(entry: ModelEntry, estimator: Any) -> MakeTable:
    """Return the function that makes the estimator's table of a batch's inputs.

    An estimator that was fitted on a data frame gets one, its columns named by `features`;
    any other gets the single input [-1, k] as an array. BYTES become text.

    Raises:
        ConfigError: names or number of the columns are not those the estimator was fitted on.
    """
    specs = [spec for spec in entry.config.inputs if not spec.sensitive]
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None:
        return _frame_maker(entry, specs, [str(name) for name in fitted])
    if len(specs) != 1 or len(specs[0].shape) != 2:
        raise ConfigError(
            f"{entry.weights}: the estimator takes one table, so model.yaml must declare one "
            f"input [-1, {getattr(estimator, 'n_features_in_', 'k')}] that is not sensitive; fit "
            f"it on a data frame to serve several"
        )
    (spec,) = specs
    wanted = getattr(estimator, "n_features_in_", None)
    if wanted is not None and spec.shape[1] != wanted:
        raise ConfigError(
            f"{entry.weights}: the estimator was fitted on {wanted} columns, model.yaml declares "
            f"input '{spec.name}' as {spec.shape}"
        )
    return lambda inputs: _text(inputs[spec.name])


def _frame_maker(entry: ModelEntry, specs: list[InputSpec], fitted: list[str]) -> MakeTable:
    columns = {
        feature.name: (spec.name, index)
        for spec in specs
        for index, feature in enumerate(spec.features or [])
    }
    missing = [name for name in fitted if name not in columns]
    unknown = [name for name in columns if name not in fitted]
    for names, what in (
        (missing, "was fitted on the column '{}', which no input in model.yaml has in `features`"),
        (unknown, "does not know the feature '{}', which model.yaml declares"),
    ):
        if names:
            raise ConfigError(f"{entry.weights}: the estimator {what.format(names[0])}")
    places = [(name, *columns[name]) for name in fitted]

    def make(inputs: dict[str, np.ndarray]) -> Any:
        import pandas as pd

        return pd.DataFrame(
            {name: _text(inputs[tensor][:, index]) for name, tensor, index in places}
        )

    return make


def _text(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    return np.array([value.decode() for value in array.flat], object).reshape(array.shape)
