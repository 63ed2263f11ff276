"""Makes the one table that a scikit-learn estimator takes of a model's inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serving.config import ConfigError, InputSpec
from serving.models.formats.sklearn.categories import Frame, categories_of
from serving.models.formats.sklearn.nesting import parts, takes_text
from serving.models.repository.folder import ModelEntry
from serving.models.text import texts_of
from serving.protocol.datatypes import bf16_to_fp32

MakeTable = Callable[[dict[str, np.ndarray]], Any]


def table_maker(entry: ModelEntry, estimator: Any) -> MakeTable:
    """Return the function that makes the estimator's table of a batch's inputs.

    An estimator that was fitted on a data frame gets one, its columns named by `features`, or by
    the input itself where that is [-1] or [-1, 1] and has no `features`; one that
    was fitted on texts gets those of the single input [-1] or [-1, 1] as an array [rows]; any other
    gets the single input [-1, k] as an array. BYTES become text.

    Raises:
        ConfigError: names or number of the columns are not those the estimator was fitted on, or
            a datatype is not that of their categories.
    """
    _refuse_readers_of_files(entry, estimator)
    specs = [spec for spec in entry.config.inputs if not spec.sensitive]
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None:
        return _frame_maker(entry, estimator, specs, [str(name) for name in fitted])
    wanted = getattr(estimator, "n_features_in_", None)
    is_one_text = [(spec.datatype, spec.shape) for spec in specs] == [("BYTES", [-1])]
    if takes_text(estimator) or (is_one_text and wanted is None):
        return _texts_maker(entry, specs)
    if len(specs) != 1 or len(specs[0].shape) != 2:
        raise ConfigError(
            f"{entry.weights}: the estimator takes one table, so model.yaml must declare one "
            f"input [-1, {wanted or 'k'}] that is not sensitive; fit it on a data frame to serve "
            f"several"
        )
    (spec,) = specs
    if wanted is not None and spec.shape[1] != wanted:
        raise ConfigError(
            f"{entry.weights}: the estimator was fitted on {wanted} columns, model.yaml declares "
            f"input '{spec.name}' as {spec.shape}"
        )
    return lambda inputs: _values(spec, inputs[spec.name])


def _refuse_readers_of_files(entry: ModelEntry, estimator: Any) -> None:
    for part in parts(estimator):
        if hasattr(part, "build_analyzer") and getattr(part, "input", "content") != "content":
            raise ConfigError(
                f"{entry.weights}: {type(part).__name__} reads the files that its input names, "
                f"which clients may not choose; fit it on texts (`input='content'`)"
            )


def _texts_maker(entry: ModelEntry, specs: list[InputSpec]) -> MakeTable:
    if len(specs) != 1 or specs[0].datatype != "BYTES" or specs[0].shape not in ([-1], [-1, 1]):
        raise ConfigError(
            f"{entry.weights}: the estimator takes one text a row, so model.yaml must declare one "
            f"input, of BYTES [-1] or [-1, 1], that is not sensitive"
        )
    (spec,) = specs
    return lambda inputs: _values(spec, inputs[spec.name].reshape(-1))


def _frame_maker(
    entry: ModelEntry, estimator: Any, specs: list[InputSpec], fitted: list[str]
) -> MakeTable:
    columns: dict[str, tuple[InputSpec, int]] = {}
    for spec in specs:
        for index, name in enumerate(_column_names(spec)):
            if name in columns:
                raise ConfigError(f"{entry.weights}: two inputs have the column '{name}'")
            columns[name] = (spec, index)
    missing = [name for name in fitted if name not in columns]
    unknown = [name for name in columns if name not in fitted]
    nameless = [spec.name for spec in specs if not _column_names(spec)]
    for names, what in (
        (missing, "was fitted on the column '{}', which no input in model.yaml has in `features`"),
        (unknown, "does not know the feature '{}', which model.yaml declares"),
        (nameless, "takes columns by name, and input '{}' has no `features` that name its own"),
    ):
        if names:
            raise ConfigError(f"{entry.weights}: the estimator {what.format(names[0])}")
    places = [(name, *columns[name]) for name in fitted]
    frame = Frame({name: spec.datatype for name, spec, _index in places})
    categories = categories_of(entry.weights, estimator, frame)

    width = {spec.name: len(_column_names(spec)) for spec in specs}

    def column(name: str, spec: InputSpec, array: np.ndarray) -> Any:
        values = _values(spec, array)
        if name not in categories:
            return values
        return categories[name].column(f"input '{spec.name}': column '{name}'", values)

    def make(inputs: dict[str, np.ndarray]) -> Any:
        import pandas as pd

        return pd.DataFrame(
            {
                name: column(name, spec, inputs[spec.name].reshape(-1, width[spec.name])[:, index])
                for name, spec, index in places
            }
        )

    return make


def _column_names(spec: InputSpec) -> list[str]:
    """Return the names of an input's columns; one of a single column may be called like it."""
    if spec.features:
        return [feature.name for feature in spec.features]
    return [spec.name] if spec.shape in ([-1], [-1, 1]) else []


def _values(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    """Return text of BYTES, float32 of BF16, and anything else as it is.

    Raises:
        InvalidInput: BYTES are not UTF-8.
    """
    if spec.datatype == "BF16":
        return bf16_to_fp32(array)
    return texts_of(spec.name, array) if spec.datatype == "BYTES" else array
