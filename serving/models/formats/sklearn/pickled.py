"""Makes a file of skops of a pickled estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from serving.config import ConfigError
from serving.models.formats.unreadable import unreadable


def to_skops(file: Path, target: Path) -> list[str]:
    """Write the estimator that the pickle `file` holds to `target`; return what to tell the user.

    Raises:
        ConfigError: it is damaged, or holds something else or what skops cannot hold.
    """
    from skops import io

    estimator = _read_pickle(file)
    if not isinstance(estimator, BaseEstimator):
        raise ConfigError(
            f"{file}: holds a {type(estimator).__name__}, not a scikit-learn estimator"
        )
    try:
        content = io.dumps(estimator)
    except Exception as error:  # noqa: BLE001 - an estimator may hold anything
        raise unreadable(file, error, "written as skops") from None
    untrusted = io.get_untrusted_types(data=content)
    target.write_bytes(content)
    notes = ["serve it with `format: sklearn`"]
    if untrusted:
        notes[0] += f" and `trust_code: true`, because it holds {', '.join(untrusted)}"
    return notes


def _read_pickle(file: Path) -> Any:
    import joblib

    try:
        # It reads plain pickles as well.
        return joblib.load(file)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a pickle may raise anything
        raise unreadable(file, error) from None
