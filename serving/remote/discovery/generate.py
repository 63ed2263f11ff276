"""From what another server tells of a model to a `model.yaml` for it."""

from __future__ import annotations

import re
from typing import Any, Final

from serving.config import ModelConfig, parse
from serving.errors import Unsupported
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import InferRequest
from serving.protocol.metadata import TensorMetadata
from serving.remote.discovery.discover import Found, Tell

DRIFT: Final[dict[str, Any]] = {"reference": "live", "window": 1000}
"""What `monitors.drift` says."""

ALONE_INFLIGHT: Final = 32
"""Requests under way at once to a model whose requests go alone."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def local_version(found: Found) -> str:
    """Return the version that the model gets here: its own where that is a positive number."""
    return found.version if _VERSION.fullmatch(found.version) else "1"


def can_be_called(name: str) -> bool:
    """Whether a model may have that name here."""
    return bool(_NAME.fullmatch(name))


def generate(
    found: Found, remote: dict[str, Any], example: InferRequest | None, tell: Tell
) -> dict[str, Any]:
    """Return the content of a `model.yaml`; `tell` gets what people should know of it.

    `remote` says where the server is and what it asks of its callers.

    Raises:
        Unsupported: the model cannot be served here; one sentence says why.
        ConfigError: what the server tells cannot be right.
    """
    _check(found, example)
    inputs, outputs, rows = _tensors(found, example)
    row_axis, join = _batching(found, inputs, outputs, rows)
    remote = dict(remote)
    if not row_axis:
        remote |= {"row_axis": False}
    if not join:
        remote |= {"join": False, "max_inflight": ALONE_INFLIGHT}
    made: dict[str, Any] = {
        "format": "remote",
        "remote": remote,
        "inputs": [_spec(tensor, row_axis) for tensor in inputs],
        "outputs": [_spec(tensor, row_axis) for tensor in outputs],
        "guards": [{"name": "schema", "action": "flag"}],
        "monitors": {"drift": DRIFT},
    }
    if remote.get("mirror") == "observe":  # nothing is computed that a guard or explainer could see
        made |= {"guards": [], "explain": None}
    if example is not None:
        made["example"] = "example.json"
    if found.told and found.told.max_batch_size > 0:
        made["batching"] = {"max_batch_size": found.told.max_batch_size}
    parse(ModelConfig, made, f"model '{found.name}'")
    _remarks(found, row_axis, join, tell)
    return made


def _check(found: Found, example: InferRequest | None) -> None:
    if not can_be_called(found.name):
        raise Unsupported(
            "its name cannot be one here: use letters, digits, '.', '_' and '-', at most 128"
        )
    if found.told and found.told.decoupled:
        raise Unsupported("it is decoupled: one request may have several answers, or none")
    if example is None and not (found.metadata.inputs and found.metadata.outputs):
        raise Unsupported(
            f"its server does not tell its inputs and outputs; give a request that it answers: "
            f"--example {found.name}=request.json"
        )
    for tensor in (*found.metadata.inputs, *found.metadata.outputs):
        if example is None and tensor.datatype not in NUMPY_OF:
            raise Unsupported(f"tensor '{tensor.name}' has the datatype '{tensor.datatype}'")


def _tensors(
    found: Found, example: InferRequest | None
) -> tuple[list[TensorMetadata], list[TensorMetadata], int]:
    """Inputs and outputs: as an example shows them, else as declared; and the example's rows."""
    if example is None or found.answered is None:
        return list(found.metadata.inputs), list(found.metadata.outputs), 0
    given, got = example.inputs, found.answered
    firsts = {tensor.shape[:1] for tensor in (*given, *got)}
    rows = next(iter(firsts))[0] if len(firsts) == 1 and () not in firsts else 0
    shapes = [(-1, *t.shape[1:]) if rows else t.shape for t in (*given, *got)]
    tensors = [
        TensorMetadata(t.name, t.datatype, shape)
        for t, shape in zip((*given, *got), shapes, strict=True)
    ]
    return tensors[: len(given)], tensors[len(given) :], rows


def _batching(
    found: Found, inputs: list[TensorMetadata], outputs: list[TensorMetadata], rows: int
) -> tuple[bool, bool]:
    """Whether the first axis is the row, and whether rows of several requests may be joined."""
    row_axis = all(tensor.shape[:1] == (-1,) for tensor in (*inputs, *outputs))
    if found.told is None:
        # An example of one row is no proof that the first axis is one of rows: 1 may be anything.
        declared = bool(found.metadata.inputs) and row_axis
        return row_axis, row_axis and (declared or rows > 1)
    return row_axis, row_axis and found.told.max_batch_size > 0 and not found.told.stateful


def _spec(tensor: TensorMetadata, row_axis: bool) -> dict[str, Any]:
    shape = list(tensor.shape) if row_axis else [-1, *tensor.shape]
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}


def _remarks(found: Found, row_axis: bool, join: bool, tell: Tell) -> None:
    name = found.name
    if found.version and local_version(found) != found.version:
        tell(f"{name}: its version '{found.version}' is called 1 here, where versions are numbers")
    if not row_axis:
        tell(f"{name}: its tensors have no row axis, so each request is one row and goes alone")
    elif not join:
        tell(f"{name}: it declares no batches, so each request goes alone (remote.join)")
    if found.told and found.told.optional:
        tell(f"{name}: its optional input '{found.told.optional[0]}' is required here")
