"""What a scikit-learn estimator takes and gives, read from the schema in its skops archive.

Nothing is loaded, for that may run code. So only what the schema says of the estimator is known:
names and number of its columns, and the classes of classifiers that are known to give
probabilities.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from serving.config import ConfigError
from serving.models.formats.bounded_zip import read_member
from serving.models.signature import Signature, Tensor

_WHAT: Final = "archive of skops"
_PROBABILISTIC = """
    AdaBoostClassifier BaggingClassifier BernoulliNB CalibratedClassifierCV CategoricalNB
    ComplementNB DecisionTreeClassifier ExtraTreeClassifier ExtraTreesClassifier GaussianNB
    GaussianProcessClassifier GradientBoostingClassifier HistGradientBoostingClassifier
    KNeighborsClassifier LinearDiscriminantAnalysis LogisticRegression LogisticRegressionCV
    MLPClassifier MultinomialNB QuadraticDiscriminantAnalysis RandomForestClassifier
"""
# Classifiers of scikit-learn that have `predict_proba` whatever their parameters are.
_KNOWN: Final = frozenset(_PROBABILISTIC.split())
_ENCODERS: Final = ("sklearn.compose.", "sklearn.preprocessing._encoders", "sklearn.impute.")
"""What may take columns that are no numbers; the schema does not tell which are."""
_VECTORIZERS: Final = ("TfidfVectorizer", "CountVectorizer", "HashingVectorizer")
_MOST_COLUMNS: Final = 1 << 16
_MOST_CLASSES: Final = 1 << 16


class _Node(msgspec.Struct, rename={"kind": "__class__", "module": "__module__"}):
    """One object of the schema: its class, and its content, file or text."""

    kind: str
    module: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")
    type: str = ""
    file: str = ""


def read_sklearn_signature(path: Path) -> Signature:
    """Read what the estimator at `path` takes and gives.

    The input is `x`, FP64 [-1, k], with the columns' names as `features` where it was fitted on a
    data frame; for a vectorizer of texts it is BYTES [-1]. A classifier that always gives
    probabilities has the output `probabilities`, FP64 [-1, classes]. Of a pipeline, the first step
    tells the input and the last the output. What cannot be known so has no datatype.

    Raises:
        ConfigError: it is no such archive.
    """
    schema = read_member(path, lambda name: name == "schema.json", _WHAT)
    try:
        estimator = msgspec.json.decode(schema, type=_Node)
        steps = _steps(estimator)
        return Signature([_input(steps[0])], [_output(path, steps[-1])])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no {_WHAT}: {str(error)[:200]}") from None


def _steps(estimator: _Node) -> list[_Node]:
    if (estimator.module, estimator.kind) != ("sklearn.pipeline", "Pipeline"):
        return [estimator]
    steps = _attributes(estimator).get("steps")
    named = _nodes(steps) if steps else []
    found = [pair[1] for pair in (_nodes(step) for step in named) if len(pair) == 2]
    return found or [estimator]


def _input(estimator: _Node) -> Tensor:
    attributes = _attributes(estimator)
    names = _texts(attributes.get("feature_names_in_"))
    count = _number(attributes.get("n_features_in_"))
    is_known = estimator.module.startswith("sklearn.")
    if is_known and estimator.kind in _VECTORIZERS:
        return Tensor("x", "BYTES", [None])
    # What encodes columns first may have been fitted on text.
    encoder = attributes.get("_preprocessor")
    encodes = estimator.module.startswith(_ENCODERS) or (
        encoder is not None and encoder.module.startswith(_ENCODERS)
    )
    if not is_known or encodes or not 0 < count <= _MOST_COLUMNS:
        return Tensor("x", None, None)
    more = {"features": [{"name": name} for name in names]} if len(names) == count else None
    return Tensor("x", "FP64", [None, count], more)


def _output(path: Path, estimator: _Node) -> Tensor:
    is_known = estimator.module.startswith("sklearn.") and estimator.kind in _KNOWN
    classes = _classes(path, _attributes(estimator).get("classes_")) if is_known else []
    if not classes:
        return Tensor("probabilities", None, None)
    return Tensor("probabilities", "FP64", [None, len(classes)], {"classes": classes})


def _classes(path: Path, node: _Node | None) -> list[str]:
    if node is None or node.kind != "ndarray":
        return []
    if node.type != "numpy":
        return _texts(node)
    content = read_member(path, lambda name: name == node.file, _WHAT)
    try:
        found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError, OverflowError):
        return []
    if found.ndim != 1 or found.dtype.kind not in "biufU" or len(found) > _MOST_CLASSES:
        return []
    return [str(name) for name in found]


def _attributes(estimator: _Node) -> dict[str, _Node]:
    """Return what an estimator holds that is an object of the schema itself."""
    inner = _decoded(estimator.content, _Node)
    raw = _decoded(inner.content, dict[str, msgspec.Raw]) if inner else None
    wanted = ("steps", "n_features_in_", "feature_names_in_", "classes_", "_preprocessor")
    found = {name: _decoded(raw[name], _Node) for name in wanted if raw and name in raw}
    return {name: node for name, node in found.items() if node}


def _nodes(node: _Node) -> list[_Node]:
    return _decoded(node.content, list[_Node]) or []


def _texts(node: _Node | None) -> list[str]:
    nodes = _nodes(node)[: _MOST_COLUMNS + 1] if node else []
    found = [_value(inner) for inner in nodes]
    return [text for text in found if isinstance(text, str)]


def _number(node: _Node | None) -> int:
    found = _value(node) if node else None
    return found if isinstance(found, int) else 0


def _value(node: _Node) -> object:
    """Return the text or number that a node holds as JSON."""
    text = _decoded(node.content, str)
    return _decoded(text.encode(), str | int | None) if text else None


def _decoded(raw: Any, kind: Any) -> Any:
    """Return `raw` as a `kind`, or None where it is something else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
