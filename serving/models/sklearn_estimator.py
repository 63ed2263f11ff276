"""Format `sklearn`: a scikit-learn estimator stored by skops (the extra `vigil[sklearn]`)."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from serving.config import ConfigError, OutputSpec
from serving.models.array_model import ArrayModel
from serving.models.manifest import verified_bytes
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.sklearn_table import table_maker
from serving.protocol.datatypes import FLOATING, NUMPY_OF

Method = Callable[[Any], np.ndarray]

SCHEMA: Final = "schema.json"
MOST_SCHEMA: Final = 64 << 20
MOST_UNPACKED: Final = 8 << 30
"""Bytes that an archive's members may unpack to, counted as often as the schema names them."""

_KINDS: Final = {"U": "text", "S": "text", "O": "text", "b": "BOOL", "i": "integers"}


def load_sklearn(entry: ModelEntry) -> ArrayModel:
    """Load an estimator; types that skops does not know need `trust_code: true`.

    Trees are among those: a crafted one can make its compiled code read foreign memory.
    A floating-point output [-1, k] of a classifier is its `predict_proba`; every other output is
    `predict`, cast to the declared datatype where no meaning is lost.

    Raises:
        ConfigError: skops is not installed, the file is missing, is not the one in the
            manifest, is unreadable or holds types that are not trusted, or the estimator does
            not fit what `model.yaml` declares.
    """
    estimator = _load(entry, verified_bytes(entry.directory, WEIGHTS_OF["sklearn"]))
    cores = entry.config.replicas.cores
    _limit_jobs(estimator, cores)
    table = table_maker(entry, estimator)
    outputs = [(spec, _method(entry, estimator, spec)) for spec in entry.config.outputs]

    def run(inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        rows = table(inputs)
        with threadpool_limits(limits=cores):
            return {spec.name: _cast(spec, method(rows)) for spec, method in outputs}

    return ArrayModel(entry, run)


def _load(entry: ModelEntry, content: bytes) -> Any:
    try:
        from skops import io as skops_io
    except ImportError:
        raise ConfigError(
            f"model '{entry.name}': format sklearn needs skops; install vigil[sklearn]"
        ) from None
    _check_archive(entry, content)
    try:
        untrusted = skops_io.get_untrusted_types(data=content)
        trusted = untrusted if entry.config.trust_code else []
        if untrusted == trusted:
            return skops_io.loads(content, trusted=trusted)
    except Exception as error:  # noqa: BLE001 - a damaged archive may fail in many ways
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{entry.weights}: {type(error).__name__}: {message}; save it with skops, or, if it is "
            f"a pickle, name it .pkl and let `vigil convert` do it"
        ) from None
    raise ConfigError(
        f"{entry.weights}: holds types that are not known to be harmless: "
        f"{', '.join(untrusted)}; set `trust_code: true` in model.yaml if you trust them"
    )


def _check_archive(entry: ModelEntry, content: bytes) -> None:
    """Refuse an archive that would unpack to far more than it is.

    skops reads a member as often as the schema names it, so a small file could fill the memory
    without holding any type that must be trusted.

    Raises:
        ConfigError: it would.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if sum(sizes.values()) > MOST_UNPACKED or sizes.get(SCHEMA, 0) > MOST_SCHEMA:
                raise ConfigError(f"{entry.weights}: unpacks to more than a model may hold")
            schema = archive.read(SCHEMA) if SCHEMA in sizes else b""
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, OSError):
        return  # skops says what is wrong with it
    named = sum(schema.count(json.dumps(name).encode()) * size for name, size in sizes.items())
    if named > MOST_UNPACKED:
        raise ConfigError(f"{entry.weights}: names its members more often than a model needs")


def _limit_jobs(estimator: Any, cores: int) -> None:
    # Forests saved with n_jobs=-1 would take every core of the machine for every batch.
    jobs = [
        name
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "n_jobs" and value is not None
    ]
    if jobs:
        estimator.set_params(**dict.fromkeys(jobs, cores))


def _method(entry: ModelEntry, estimator: Any, spec: OutputSpec) -> Method:
    """Return the method of the estimator that gives the output `spec`."""
    where = f"{entry.weights}: output '{spec.name}'"
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return _existing(where, estimator, "predict")
    if isinstance(classes, list):
        raise ConfigError(f"{where}: {type(estimator).__name__} gives several targets at once")
    if spec.datatype in FLOATING and len(spec.shape) == 2:
        _check_classes(where, spec, classes)
        return _existing(where, estimator, "predict_proba")
    found = _KINDS.get(np.asarray(classes).dtype.kind, "")
    fits = {"text": spec.datatype == "BYTES", "integers": "INT" in spec.datatype}
    if not fits.get(found, spec.datatype != "BYTES"):
        raise ConfigError(
            f"{where}: the estimator predicts {found or 'numbers'}, model.yaml declares "
            f"{spec.datatype} {spec.shape}; FP32 [-1, {len(classes)}] gives probabilities"
        )
    return _existing(where, estimator, "predict")


def _check_classes(where: str, spec: OutputSpec, classes: Any) -> None:
    names = [str(name) for name in classes]
    if spec.shape[1] not in (-1, len(names)):
        raise ConfigError(
            f"{where}: the estimator has {len(names)} classes, model.yaml declares {spec.shape}"
        )
    # Numbers tell nothing of names, but names in another order would swap the classes.
    if spec.classes and isinstance(classes[0], str) and names != spec.classes:
        raise ConfigError(
            f"{where}: the estimator's classes are {', '.join(names)}, model.yaml declares "
            f"{', '.join(spec.classes)}"
        )


def _existing(where: str, estimator: Any, name: str) -> Method:
    method: Method | None = getattr(estimator, name, None)
    if method is None:
        raise ConfigError(f"{where}: {type(estimator).__name__} has no {name}")
    return method


def _cast(spec: OutputSpec, values: np.ndarray) -> np.ndarray:
    if spec.datatype == "BYTES":
        return np.array([str(value).encode() for value in values.flat], object).reshape(
            values.shape
        )
    return values.astype(NUMPY_OF[spec.datatype], casting="same_kind", copy=False)
