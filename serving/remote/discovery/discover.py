"""Finding out what a running server serves: its transport, its models, their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from serving.config import ConfigError, RemoteCredentials, RemoteTls
from serving.errors import ModelNotFound, ModelNotReady, NoReplica, UpstreamDenied, VigilError
from serving.protocol.messages import InferRequest, Tensor
from serving.protocol.metadata import ModelMetadata
from serving.remote.access import access_of
from serving.remote.address import Address, parse_address
from serving.remote.client import Client
from serving.remote.wire import NOTHING, Listed, Told

TIMEOUT_S: Final = 10.0
"""Longest wait for one answer while looking around."""

_MOST_DIGITS: Final = 1000
"""Of a version that is taken for a number."""

Tell = Callable[[str], None]


class Found(msgspec.Struct, frozen=True):
    """A model of another server, as far as that tells.

    Attributes:
        version: its newest version there, as that server writes it; empty if it tells none.
        told: its Triton configuration; None where the server has no such thing.
        answered: the answer to the example that was given for it.
    """

    name: str
    version: str
    metadata: ModelMetadata
    told: Told | None = None
    answered: tuple[Tensor, ...] | None = None


def connect(
    upstream: str, credentials: RemoteCredentials | None = None, tls: RemoteTls | None = None
) -> Client:
    """Connect to `HOST:PORT`, finding out whether HTTP or gRPC is spoken there, or to a URL.

    Paths in `credentials` and `tls` are relative to the working directory.

    Raises:
        ConfigError: that is no address, or a secret or a file is missing.
        UpstreamDenied: the server does not accept the credentials.
        NoReplica: nobody answers there, or in another protocol.
    """

    def speaking(address: Address) -> Client:
        access = access_of(address, credentials, tls, Path())
        return _speaking(Client(address, TIMEOUT_S, access))

    if "://" in upstream:
        return speaking(parse_address(upstream))
    address = parse_address(f"grpc://{upstream}")
    if not upstream.rpartition(":")[2].isdigit():
        raise ConfigError(f"--upstream needs HOST:PORT, not '{upstream[:200]}'")
    # HTTP first: a gRPC server refuses it at once, an HTTP server lets gRPC wait.
    for scheme in ("https", "grpcs") if tls else ("http", "grpc"):
        try:
            return speaking(Address(scheme, address.host, address.port))
        except (ConfigError, UpstreamDenied):
            raise
        except VigilError:
            continue
    raise NoReplica(
        f"nothing at {upstream} speaks the Open Inference Protocol, neither HTTP nor gRPC; "
        f"start that server, or correct --upstream"
    )


def _speaking(client: Client) -> Client:
    try:
        client.ready("", "")
    except (NoReplica, ModelNotReady) as error:
        client.close()
        raise error from None
    except VigilError:
        pass  # it knows no such model, but it answers
    return client


def list_models(client: Client, wanted: Sequence[str], tell: Tell) -> list[Listed]:
    """Return the newest version of each model that is ready, by name; `wanted` chooses some.

    Raises:
        ConfigError: the server has no index and no model was named, or lacks a model.
    """
    try:
        index = client.index()
    except UpstreamDenied:
        raise
    except VigilError:
        if not wanted:
            raise ConfigError(
                f"{client.address.url} has no index of its models; name them with --model NAME"
            ) from None
        return [Listed(name) for name in wanted]
    if missing := sorted(set(wanted) - {listed.name for listed in index}):
        raise ConfigError(f"{client.address.url} has no model '{missing[0]}'")
    newest: dict[str, Listed] = {}
    for listed in index:
        if wanted and listed.name not in wanted:
            continue
        # MLServer's gRPC writes the name of its enumeration before the state.
        if listed.state.rpartition(".")[2] not in ("", "READY"):
            reason = f": {listed.reason}" if listed.reason else ""
            tell(f"{listed.name}: left out, it is not ready there{reason}")
            continue
        known = newest.get(listed.name)
        if known is None or _as_number(listed.version) > _as_number(known.version):
            newest[listed.name] = listed
    return [newest[name] for name in sorted(newest)]


def look_at(client: Client, listed: Listed, example: InferRequest | None) -> Found:
    """Return what can be known of one model; its example is run once, if there is one.

    Raises:
        VigilError: the server does not tell its metadata, or refuses the example.
    """
    metadata = client.metadata(listed.name, "")
    version = listed.version or max(metadata.versions, key=_as_number, default="")
    told: Told | None
    try:
        told = client.config(listed.name, "")
    except VigilError:  # an extension of Triton's
        told = None
    answered = None
    if example is not None:
        answered = tuple(client.infer(listed.name, "", example.inputs, NOTHING).tensors)
    return Found(listed.name, version, metadata, told, answered)


def _as_number(version: str) -> int:
    # Another server's text: `int` refuses some digits of Unicode, and too many of any.
    known = version.isascii() and version.isdigit() and len(version) <= _MOST_DIGITS
    return int(version) if known else -1


def look_around(
    client: Client, wanted: Sequence[str], examples: Mapping[str, InferRequest], tell: Tell
) -> list[Found]:
    """Return every model that can be looked at; `tell` gets a sentence for every other.

    Raises:
        ConfigError: as for `list_models`, or an example is for no model.
    """
    models = list_models(client, wanted, tell)
    if strangers := sorted(set(examples) - {listed.name for listed in models}):
        raise ConfigError(f"--example: {client.address.url} has no model '{strangers[0]}'")
    found = []
    for listed in models:
        try:
            found.append(look_at(client, listed, examples.get(listed.name)))
        except ModelNotFound as error:
            tell(f"{listed.name}: left out, it is not there: {error.message}")
        except VigilError as error:
            tell(f"{listed.name}: left out: {error.message}")
    return found
