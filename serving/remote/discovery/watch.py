"""`vigil watch`: makes a model repository of what another server serves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from serving.config import ConfigError, RemoteCredentials, RemoteTls
from serving.errors import VigilError
from serving.protocol.example import decode_example
from serving.protocol.messages import InferRequest
from serving.remote.discovery.discover import Found, Tell, connect, look_around
from serving.remote.discovery.generate import can_be_called, generate, local_version

_HEAD: Final = "# Written by `vigil watch`; to be edited and kept: `vigil up` serves it too.\n"

_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def read_examples(given: Sequence[str]) -> dict[str, bytes]:
    """Read `--example MODEL=FILE` options; returns the files' content by model.

    Raises:
        ConfigError: one is not of that form, its file cannot be read, or a model has two.
    """
    examples = {}
    for text in given:
        model, equals, file = text.partition("=")
        if not equals or not model:
            raise ConfigError(f"--example needs MODEL=FILE, not '{text[:200]}'")
        if model in examples:
            raise ConfigError(f"--example names model '{model[:200]}' twice; leave one out")
        try:
            examples[model] = Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}; --example names it") from None
    return examples


def write_repository(
    upstream: str,
    folder: Path,
    wanted: Sequence[str],
    examples: Mapping[str, bytes],
    tell: Tell,
    *,
    keep: bool,
    credentials: RemoteCredentials | None = None,
    tls: RemoteTls | None = None,
    mirror: str | None = None,
) -> list[str]:
    """Write a `model.yaml` for each model of `upstream` into `folder`; returns their names.

    Args:
        upstream: `HOST:PORT` or a URL.
        folder: where to; other models in it are left alone.
        wanted: names of models; empty: all that the server lists.
        examples: OIP JSON requests by model.
        tell: gets a sentence for everything that people should know.
        keep: leave a `model.yaml` that is there as it is.
        credentials, tls: what the server asks of its callers; paths must be absolute.
        mirror: as `remote.mirror` of `model.yaml`; None: requests are no copies.

    Raises:
        VigilError: the server cannot be reached or looked at, no model of it can be served, or
            `folder` cannot be written to.
    """
    requests = {model: decode_example(body, model, "") for model, body in examples.items()}
    client = connect(upstream, credentials, tls)
    remote: dict[str, Any] = {"url": client.address.url}
    if mirror is not None:
        remote["mirror"] = mirror
    for key, section in (("credentials", credentials), ("tls", tls)):
        if section is not None:
            remote[key] = section.model_dump(exclude_defaults=True)
    try:
        names = []
        for found in look_around(client, wanted, requests, tell):
            example = requests.get(found.name)
            if _write(found, remote, folder, example, tell, keep=keep):
                names.append(found.name)
                if example is not None:
                    (folder / found.name / "example.json").write_bytes(examples[found.name])
        if not names:
            raise ConfigError(f"{client.address.url}: has no model that could be served")
        return names
    except OSError as error:
        where = error.filename or folder
        raise ConfigError(
            f"{where}: {error.strerror}; a model that is watched is written there"
        ) from None
    finally:
        client.close()


def _write(
    found: Found,
    remote: dict[str, Any],
    folder: Path,
    example: InferRequest | None,
    tell: Tell,
    *,
    keep: bool,
) -> bool:
    path = folder / found.name / "model.yaml"
    # The other server gives the name: only where it can be one here is this a path to look at.
    if keep and can_be_called(found.name) and path.exists():
        tell(f"{found.name}: {path} is kept as it is")
        return True
    try:
        made = generate(found, remote, example, tell)
    except VigilError as error:
        tell(f"{found.name}: left out: {error.message}")
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEAD + yaml.safe_dump(made, sort_keys=False, default_flow_style=None))
    _make_version(path.parent, local_version(found))
    return True


def _make_version(folder: Path, version: str) -> None:
    """Make the version's folder, and remove empty ones of others: the newest here is served."""
    for other in folder.iterdir():
        if other.is_dir() and _VERSION.fullmatch(other.name) and not any(other.iterdir()):
            other.rmdir()
    (folder / version).mkdir(exist_ok=True)
