"""Copies of requests for endpoints whose answers nobody waits for."""

from __future__ import annotations

import contextlib
from functools import partial

import msgspec

from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Ticket
from serving.dataplane.routing import Route
from serving.errors import VigilError
from serving.protocol.messages import InferRequest
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def mirror(mirrors: tuple[Route, ...], request: InferRequest, context: RequestContext) -> None:
    """Send a copy of an admitted request to each mirror; never raises.

    What becomes of a copy is counted by its endpoint, under the arm of its route.
    """
    # Whether the client has left can be asked once only, and concerns the answer that it gets.
    context = msgspec.structs.replace(context, disconnect=None)
    for route in mirrors:
        try:
            ticket = route.endpoint.begin(request, context, route.arm)
            ticket.then(partial(_finish, ticket))
        except VigilError:
            pass  # refused, and counted
        except Exception as error:  # noqa: BLE001 - the request itself is answered all the same
            endpoint = route.endpoint
            report(
                Event.INTERNAL_ERROR,
                "a request was not mirrored",
                model=endpoint.name,
                version=endpoint.version,
                request_id=request.id,
                traceparent=context.traceparent,
                error=error,
            )


def _finish(ticket: Ticket) -> None:
    with contextlib.suppress(VigilError):
        ticket.endpoint.finish(ticket)
