"""What lies inside a scikit-learn estimator: steps, members of ensembles, refitted copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

_ACTS: Final = ("predict", "transform", "estimator")
"""An object that has one of these is an estimator, or a wrapper of one."""
_DEEPEST: Final = 3
"""Lists in lists that are looked into."""


def parts(estimator: Any) -> Iterator[Any]:
    """Yield `estimator` and every estimator that it holds, each once."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += _held(getattr(part, "__dict__", {}).values())


def _held(values: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    for value in values:
        is_array = isinstance(value, np.ndarray) and value.dtype == object
        if is_array or isinstance(value, list | tuple):
            if depth < _DEEPEST:
                yield from _held(value.flat if is_array else value, depth + 1)
        elif not isinstance(value, type) and any(hasattr(value, name) for name in _ACTS):
            yield value


def last(estimator: Any) -> Any:
    """Return the estimator whose methods a pipeline or a search calls last."""
    while True:
        steps = getattr(estimator, "steps", None)
        inner = steps[-1][1] if steps else getattr(estimator, "best_estimator_", None)
        if inner is None or inner == "passthrough":
            return estimator
        estimator = inner


def tags_of(estimator: Any) -> Any:
    """Return the tags of an estimator; None for what is no estimator of scikit-learn's kind."""
    from sklearn.utils import get_tags

    try:
        return get_tags(estimator)
    except (AttributeError, TypeError):
        return None


def takes_text(estimator: Any) -> bool:
    """Tell if an estimator is fitted on texts, one a row, and not on a table.

    Pipelines do not tell it themselves, so the first step that looks at its input is asked; of
    ensembles and searches, the estimators that they were made of.
    """
    tags = tags_of(estimator)
    if tags is not None and tags.input_tags.string and not tags.input_tags.two_d_array:
        return True
    steps = getattr(estimator, "steps", None)
    if steps:
        return _first_takes_text([step for _name, step in steps])
    given = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    return any(takes_text(inner) for value in given.values() for inner in _templates(value))


def _first_takes_text(steps: list[Any]) -> bool:
    for step in steps:
        if takes_text(step):
            return True
        tags = tags_of(step)
        passes_on = step in (None, "passthrough") or (
            tags is not None and tags.no_validation and not hasattr(step, "n_features_in_")
        )
        if not passes_on:
            return False
    return False


def _templates(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):  # of names and estimators
        pairs = [pair for pair in value if isinstance(pair, list | tuple) and len(pair) == 2]
        return [inner for _name, inner in pairs if hasattr(inner, "get_params")]
    return [value] if hasattr(value, "get_params") and not isinstance(value, type) else []
