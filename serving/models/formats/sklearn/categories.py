"""Columns that an estimator was fitted on as categories of pandas.

LightGBM and XGBoost keep the categories in their boosters and want columns of that type again.
`HistGradientBoosting*` encodes the values themselves, so its columns stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any, Final

import numpy as np

from serving.config import ConfigError
from serving.errors import InvalidInput
from serving.models.formats.sklearn.nesting import parts

_MOST_SHOWN: Final = 10
_TREATED: Final = r"\[categorical_feature: ([0-9]{1,9}(?:,[0-9]{1,9})*)\]"


@dataclass(frozen=True)
class Categories:
    """The categories of one column.

    Attributes:
        values: they; all text, all numbers or all BOOL.
        strict: the library refuses others; if not, it takes them for missing.
        typed: the column must be of pandas' type, and not of plain values.
        dtype: of the categories; None: as pandas infers it.
    """

    values: tuple[Any, ...]
    strict: bool = False
    typed: bool = True
    dtype: str | None = None

    @cached_property
    def pandas_dtype(self) -> Any:
        """The type that pandas has for a column of them."""
        import pandas as pd

        return pd.CategoricalDtype(pd.Index(list(self.values), dtype=self.dtype))

    def column(self, where: str, values: np.ndarray) -> Any:
        """Return `values` [n], text or numbers, as a column of the estimator's data frame.

        Raises:
            InvalidInput: `strict`, and one of the values is none of the categories.
        """
        import pandas as pd

        dtype = self.pandas_dtype
        codes = dtype.categories.get_indexer(pd.Index(values))
        if self.strict and bool(((codes < 0) & pd.notna(values)).any()):
            raise InvalidInput(
                f"{where} holds a value that the model was not trained on; send one of "
                f"{self.shown()}"
            )
        return pd.Categorical.from_codes(codes, dtype=dtype)

    def shown(self) -> str:
        """Return the first few of them for a sentence."""
        more = ", …" if len(self.values) > _MOST_SHOWN else ""
        return ", ".join(repr(value) for value in self.values[:_MOST_SHOWN]) + more

    def wanted(self) -> str:
        """Return which datatype an input of this column must have."""
        kinds = {type(value) for value in self.values}
        if kinds == {str}:
            return "BYTES"
        if kinds == {bool}:
            return "BOOL"
        if kinds == {int}:
            return "numbers"
        whole = kinds <= {int, float} and all(float(value).is_integer() for value in self.values)
        return "numbers" if whole else "FP64" if kinds <= {int, float} else ""


class Frame:
    """The columns of the data frame that an estimator gets, and their declared datatypes.

    Args:
        datatypes: by the columns' names, in the frame's order.
    """

    def __init__(self, datatypes: Mapping[str, str]) -> None:
        self.datatypes = datatypes
        # LightGBM writes blanks in names so.
        self._known = {name.replace(" ", "_"): name for name in datatypes} | {
            name: name for name in datatypes
        }

    def column(self, name: str) -> str | None:
        """Return the column that an estimator calls `name`; None if it is none of the frame's.

        Steps before the estimator may put their own names and `__` first.
        """
        return self._known.get(name) or self._known.get(name.partition("__")[2])

    def datatype(self, name: str) -> str:
        """Return "BYTES" or "other"; empty for what is no column of the frame."""
        column = self.column(name)
        return "" if column is None else "BYTES" if self.datatypes[column] == "BYTES" else "other"


def categories_of(weights: object, estimator: Any, frame: Frame) -> dict[str, Categories]:
    """Return the categories of the columns that `estimator`, or what lies in it, wants typed.

    Their order does not matter: LightGBM and XGBoost look up the values.

    Args:
        weights: the estimator's file, for messages.
        estimator: fitted on a data frame.
        frame: what it gets.

    Raises:
        ConfigError: categories cannot be told, or are not of the datatype of their column.
    """
    found: dict[str, Categories] = {}
    for part in parts(estimator):
        for name, categories in _of_part(weights, part, frame).items():
            column = frame.column(name)
            if column is None or not categories.values:
                continue
            _check_datatype(weights, column, categories, frame.datatypes[column])
            if not categories.typed:
                continue
            before = found.setdefault(column, categories)
            if set(before.values) != set(categories.values):
                raise ConfigError(
                    f"{weights}: two of its estimators were fitted on different categories of "
                    f"the column '{column}'; fit them on one data frame"
                )
            if categories.strict:
                found[column] = categories
    return found


def _of_part(weights: object, part: Any, frame: Frame) -> dict[str, Categories]:
    package = {each.__module__.partition(".")[0] for each in type(part).__mro__}
    if "lightgbm" in package:
        return _of_lightgbm(weights, getattr(part, "_Booster", None), frame)
    if "xgboost" in package:
        return _of_xgboost(weights, part, frame)
    return _of_histogram(part)


def _check_datatype(weights: object, name: str, categories: Categories, datatype: str) -> None:
    wanted = categories.wanted()
    if not categories.typed:
        wanted = "BYTES" if wanted == "BYTES" else "numbers"
        datatype = "FP64" if datatype == "BOOL" else datatype
    if not wanted:
        raise ConfigError(
            f"{weights}: the categories of the column '{name}' are neither all text, nor all "
            f"numbers, nor all BOOL; fit it on one of these"
        )
    numbers = datatype not in ("BYTES", "BOOL")
    if datatype != wanted and not (numbers and wanted == "numbers"):
        raise ConfigError(
            f"{weights}: the categories of the column '{name}' are {categories.shown()}, so its "
            f"input must be of {wanted}, and model.yaml declares {datatype}"
        )


def _of_lightgbm(weights: object, booster: Any, frame: Frame) -> dict[str, Categories]:
    """Return the categories by name, which the booster keeps in two lists.

    One is of pandas' categories, ordered ones included. The other is of columns that are treated as
    categorical: not the ordered ones, but those that `categorical_feature` named.
    """
    kept = getattr(booster, "pandas_categorical", None)
    names = [str(name) for name in booster.feature_name()] if kept else []
    if not any(frame.column(name) for name in names):
        return {}  # it makes the categories of what the steps before it give
    known = [Categories(tuple(values)) for values in kept or ()]
    treated = _treated_as_categorical(booster)
    texts = [frame.datatype(name) == "BYTES" for name in names]
    both = [text or index in treated for index, text in enumerate(texts)]
    for chosen in (both, texts):
        columns = list(compress(names, chosen))
        if len(columns) == len(known) and all(
            frame.datatype(name) in ("", "BYTES" if each.wanted() == "BYTES" else "other")
            for name, each in zip(columns, known, strict=True)
        ):
            return dict(zip(columns, known, strict=True))
    raise ConfigError(
        f"{weights}: was fitted on {len(known)} columns of categories (the first is "
        f"{known[0].shown()}) and does not tell for sure which these are; declare those of text as "
        f"BYTES, or fit it on unordered categories without `categorical_feature`"
    )


def _treated_as_categorical(booster: Any) -> set[int]:
    parameters = getattr(booster, "params", None) or {}
    for key in ("categorical_column", "categorical_feature"):
        value = parameters.get(key)
        if isinstance(value, list) and all(isinstance(index, int) for index in value):
            return set(value)
    text = re.search(_TREATED, booster.model_to_string(num_iteration=1))
    return {int(index) for index in text[1].split(",")} if text else set()


def _of_xgboost(weights: object, part: Any, frame: Frame) -> dict[str, Categories]:
    try:
        booster = part.get_booster()
    except (AttributeError, ValueError):  # it is none, or is not fitted
        return {}
    names = [
        name
        for name, kind in zip(booster.feature_names or (), booster.feature_types or (), strict=True)
        if kind == "c"
    ]
    kept = {}
    if names and hasattr(booster, "get_categories"):
        kept = dict(booster.get_categories(export_to_arrow=True).to_arrow())
    for name in names:
        if kept.get(name) is None and frame.column(name):
            raise ConfigError(
                f"{weights}: does not hold the categories of the column '{name}', as models of "
                f"XGBoost before 3.1 do not; fit it with XGBoost 3.1 or newer on a data frame with "
                f"columns of type `category`"
            )
    arrays = {name: kept[name] for name in names if kept.get(name) is not None}
    return {
        name: Categories(tuple(array.to_pylist()), strict=True, dtype=_dtype(array))
        for name, array in arrays.items()
    }


def _dtype(array: Any) -> str | None:
    # XGBoost compares integers with those of the same width only.
    name = str(array.type)
    return name if name.startswith(("int", "uint")) else None


def _of_histogram(part: Any) -> dict[str, Categories]:
    steps = getattr(getattr(part, "_preprocessor", None), "named_transformers_", {})
    encoded = getattr(steps.get("encoder"), "categories_", None)
    names = getattr(part, "feature_names_in_", None)
    if encoded is None or names is None:
        return {}
    columns = [str(name) for name in compress(names, part.is_categorical_)]
    return {
        name: Categories(tuple(each for each in values if _is_there(each)), typed=False)
        for name, values in zip(columns, (each.tolist() for each in encoded), strict=True)
    }


def _is_there(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself
