"""Format `sklearn`: a scikit-learn estimator stored by skops (the extra `vigil[sklearn]`)."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from serving.config import ConfigError, OutputSpec, SklearnMethod
from serving.models.array_model import ArrayModel
from serving.models.execution.core_limit import hold_cores
from serving.models.formats.sklearn.method import method_of
from serving.models.formats.sklearn.table import table_maker
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes
from serving.protocol.datatypes import NUMPY_OF, fp32_to_bf16

SCHEMA: Final = "schema.json"
MOST_SCHEMA: Final = 64 << 20
MOST_UNPACKED: Final = 8 << 30
"""Bytes that an archive's members may unpack to, counted as often as the schema names them."""


def load_sklearn(entry: ModelEntry, _device: str) -> ArrayModel:
    """Load an estimator; types that skops does not know need `trust_code: true`.

    Trees are among those: a crafted one can make its compiled code read foreign memory.
    Each output is what one method of the estimator gives (`method.py`), cast to the
    declared datatype where no meaning is lost.

    Raises:
        ConfigError: skops is not installed, the file is missing, is not the one in the
            manifest, is unreadable or holds types that are not trusted, or the estimator does
            not fit what `model.yaml` declares.
    """
    estimator = _load(entry, verified_bytes(entry.directory, entry.weights.name))
    cores = entry.config.replicas.cores
    table = table_maker(entry, estimator)
    outputs = [(spec, method_of(entry.weights, estimator, spec)) for spec in entry.config.outputs]

    def run(inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        hold_cores(cores)
        return _run(estimator, outputs, table(inputs))

    return ArrayModel(entry, run)


def _load(entry: ModelEntry, content: bytes) -> Any:
    from skops import io as skops_io

    _check_archive(entry, content)
    try:
        untrusted = skops_io.get_untrusted_types(data=content)
        trusted = untrusted if entry.config.trust_code else []
        if untrusted == trusted:
            return skops_io.loads(content, trusted=trusted)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{entry.weights}: needs the module '{error.name}', which is not there; install its "
            f"package where the model is served, in the version that the model was saved with"
        ) from None
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


def _run(
    estimator: Any, outputs: list[tuple[OutputSpec, SklearnMethod]], table: Any
) -> dict[str, np.ndarray]:
    methods = dict.fromkeys(method for _spec, method in outputs)
    found = {method: _array(getattr(estimator, method)(table)) for method in methods}
    return {spec.name: _cast(spec, found[method]) for spec, method in outputs}


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "toarray"):  # sparse, as encoders and vectorizers give it
        values = values.toarray()
    if isinstance(values, list):
        raise ValueError("it gives several targets, an array for each, which are no tensor")
    return np.asarray(values)  # of a data frame, too


def _cast(spec: OutputSpec, values: np.ndarray) -> np.ndarray:
    """Return `values` in the declared datatype.

    Raises:
        TypeError: that would be another kind of value.
        ValueError: a number is no integer of it.
    """
    if spec.datatype == "BYTES":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in values.flat]
        return np.array(texts, object).reshape(values.shape)
    if spec.datatype == "BF16":
        return fp32_to_bf16(values.astype(np.float32, casting="same_kind"))
    wanted = NUMPY_OF[spec.datatype]
    if values.dtype.kind in "iuf" and wanted.kind in "iu":  # some give whole labels as floats
        with np.errstate(invalid="ignore"):
            cast = values.astype(wanted)
        if not np.array_equal(cast, values):
            raise ValueError(f"output '{spec.name}' has a number that {spec.datatype} cannot hold")
        return cast
    return values.astype(wanted, casting="same_kind", copy=False)
