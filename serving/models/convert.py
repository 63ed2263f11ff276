"""Turns pickles into files that hold no code: skops for scikit-learn, safetensors for torch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from serving.config import ConfigError
from serving.models.repository.folder import PICKLES, WEIGHTS_OF
from serving.models.repository.manifest import MANIFEST, write_manifest

_TORCH: Final = (".pt", ".pth")
# Where checkpoints of common training loops keep the weights.
_INSIDE: Final = ("state_dict", "model_state_dict", "model")


def convert_pickle(file: Path, into: Path, *, trust_code: bool) -> Iterator[str]:
    """Convert `file`, write the result and its manifest to `into`; yield what was done.

    Args:
        file: `.pkl`, `.pickle`, `.joblib` of a scikit-learn estimator, or `.pt`, `.pth` of a
            torch module or its `state_dict`.
        into: the version's folder; made if missing.
        trust_code: the pickle may be read, which runs whatever code it holds.

    Raises:
        ConfigError: code is not trusted, the file is missing, damaged or holds something else,
            or the folder holds a converted file already.
    """
    kind = _kind(file)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    if not trust_code:
        raise ConfigError(
            f"{file}: reading a pickle runs whatever code it holds; give --trust-code if you "
            f"trust whoever wrote it"
        )
    target = into / WEIGHTS_OF[kind]
    for path in (target, into / MANIFEST):
        if path.exists():
            raise ConfigError(f"{path}: is there already; give another folder with --into")
    into.mkdir(parents=True, exist_ok=True)
    if kind == "sklearn":
        notes = _write_skops(_read_pickle(file), file, target)
    else:
        notes = _write_safetensors(_read_torch(file), file, target)
    manifest = write_manifest(into, [target.name])
    yield f"wrote {target} and {manifest}"
    yield from notes


def _kind(file: Path) -> str:
    if file.suffix in PICKLES:
        return "sklearn"
    if file.suffix in _TORCH:
        return "safetensors"
    raise ConfigError(
        f"{file}: its name must end in {', '.join((*PICKLES, *_TORCH))}, which tells what it is"
    )


def _read_pickle(file: Path) -> Any:
    import joblib

    try:
        # It reads plain pickles as well.
        return joblib.load(file)
    except Exception as error:  # noqa: BLE001 - a pickle may raise anything
        raise _unreadable(file, error) from None


def _read_torch(file: Path) -> Any:
    import torch

    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ConfigError(
                    f"{file}: is a TorchScript archive, no pickle; serve it as format torchscript"
                )
    try:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=pickle)
    except Exception as error:  # noqa: BLE001 - a pickle may raise anything
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> ConfigError:
    message = " ".join(str(error).split())[:300]
    return ConfigError(f"{file}: cannot be read: {type(error).__name__}: {message}")


def _write_skops(estimator: Any, file: Path, target: Path) -> list[str]:
    from sklearn.base import BaseEstimator

    if not isinstance(estimator, BaseEstimator):
        raise ConfigError(
            f"{file}: holds a {type(estimator).__name__}, not a scikit-learn estimator"
        )
    try:
        from skops import io
    except ImportError:
        raise ConfigError(
            "converting to format sklearn needs skops; install vigil[sklearn]"
        ) from None
    content = io.dumps(estimator)
    untrusted = io.get_untrusted_types(data=content)
    target.write_bytes(content)
    notes = ["serve it with `format: sklearn`"]
    if untrusted:
        notes[0] += f" and `trust_code: true`, because it holds {', '.join(untrusted)}"
    return notes


def _write_safetensors(loaded: Any, file: Path, target: Path) -> list[str]:
    import torch

    from serving.models.torch.weights_file import write_weights

    weights = loaded.state_dict() if isinstance(loaded, torch.nn.Module) else loaded
    for key in _INSIDE:
        if isinstance(weights, Mapping) and isinstance(weights.get(key), Mapping):
            weights = weights[key]
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"{file}: holds a {type(loaded).__name__}, no weights of a module")
    odd = [name for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ConfigError(f"{file}: '{odd[0]}' is no tensor, so these are no weights of a module")
    write_weights(weights, target)
    note = (
        "serve it with `format: safetensors`, `factory: net:build`, `trust_code: true`; beside "
        "model.yaml put a net.py whose build() makes the module"
    )
    return [note]
