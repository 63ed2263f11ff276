"""Explanations of logged predictions: instead of inputs a request names another, by its id."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from serving.channel.messages.observation import (
    LOGGED_INPUTS,
    LoggedInputsMeta,
    LoggedInputsReply,
    PredictionsMeta,
)
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, ModelNotFound, VersionGone, VersionNotFound
from serving.gateway.extensions.explanations import explain_request
from serving.protocol.ids import MAX_ID, chosen_id
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import refuse_duplicates
from serving.protocol.messages import InferRequest, InferResponse, Parameters
from serving.protocol.parameters import checked_parameters

MOST_BODY: Final = 64 << 10
"""Longest body that names a request instead of giving inputs."""
MOST_ROWS: Final = 256
"""As an explanation takes at most."""
_MARK: Final = b'"request_id"'


class Reference(msgspec.Struct, frozen=True):
    """A request whose logged rows are to be explained.

    Attributes:
        request_id: the client's id, or the own id of a batch in the log.
        index: row of it; None: all of them.
        id: of the request for the explanation itself.
        parameters: how to explain.
        inputs: must not be there.
    """

    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
    index: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None = None
    id: str = ""
    parameters: dict[str, Any] | None = None
    inputs: Any = None


_decode: Final = msgspec.json.Decoder(Reference).decode
_decode_reply: Final = msgspec.msgpack.Decoder(LoggedInputsReply).decode


class _Head(msgspec.Struct):
    request_id: msgspec.Raw = msgspec.Raw(b"")


_read_head: Final = msgspec.json.Decoder(_Head).decode


def reference_in(body: bytes) -> Reference | None:
    """Return what a JSON body refers to; None where it is a request with inputs, or none at all.

    Raises:
        InvalidInput: it names a request and is wrong otherwise.
    """
    if len(body) > MOST_BODY or _MARK not in body:
        return None
    try:
        if not _read_head(body).request_id:
            return None  # the words stand elsewhere in it
        found = _decode(body)
    except UNREADABLE as error:
        raise InvalidInput(f"explain: {reason(error)}") from None
    refuse_duplicates(body, "the body that names a request")
    if found.inputs is not None:
        raise InvalidInput("explain: give inputs, or the request_id of logged ones; not both")
    return found


def reference_of(parameters: Parameters | None, ident: str) -> Reference:
    """Return what parameters refer to, of which `request_id` is one; the others are of the method.

    Raises:
        InvalidInput: they are wrong.
    """
    others: dict[str, Any] = dict(parameters or {})
    given: dict[str, Any] = {"id": ident, "parameters": others}
    given |= {name: others.pop(name) for name in ("request_id", "index") if name in others}
    try:
        return msgspec.convert(given, Reference)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"explain: {error} of the parameters") from None


async def explain_logged(
    plane: DataPlane,
    name: str,
    version: str,
    reference: Reference,
    header_id: str | None,
    context: RequestContext,
) -> tuple[InferRequest, InferResponse]:
    """Explain logged rows with the very version that made them; returns the request as well.

    Args:
        name, version: as the client names them; the version may be empty.
        reference: which rows, and how.
        header_id: the id in a header of the request for the explanation.
        context: as for `explain_request`.

    Raises:
        NotFound: the log has no such prediction.
        NoLongerThere: its inputs were not captured.
        VersionGone: what made it answers no longer.
        VigilError: as `explain_request`.
    """
    plane.resolve(name)  # a model that is not served is told as such
    asked = PredictionsMeta(name, reference.request_id, reference.index)
    message = await plane.publisher.request(
        LOGGED_INPUTS, LoggedInputsMeta(asked, MOST_ROWS), model=name
    )
    made_by = _decode_reply(message.meta)
    if version and version != made_by.version:
        raise InvalidInput(
            f"version {made_by.version} made this prediction, not {version[:40]}; name that "
            "version, or none"
        )
    _require_same(plane, name, made_by)
    request = InferRequest(
        name,
        made_by.version,
        chosen_id(reference.id or None, header_id),
        tuple(message.tensors),
        parameters=checked_parameters(reference.parameters) if reference.parameters else None,
    )
    return request, await explain_request(plane, request, context)


def _require_same(plane: DataPlane, name: str, made_by: LoggedInputsReply) -> None:
    """Refuse to explain what other files have answered."""
    try:
        served = plane.served_version(name, made_by.version)
    except (ModelNotFound, VersionNotFound):
        raise VersionGone(
            f"version {made_by.version} of model '{name}', which made this prediction, is not "
            "served any more"
        ) from None
    if made_by.revision and served.key[2] != made_by.revision:
        raise VersionGone(
            f"version {made_by.version} of model '{name}' has other files or another "
            f"configuration now (revision {served.key[2]}) than when it made this prediction "
            f"(revision {made_by.revision})"
        )
