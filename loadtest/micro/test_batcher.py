"""What the data plane adds to a request: binding, queue, batch, answer. 64 requests a round."""

from __future__ import annotations

import asyncio
from typing import Any

from loadtest import mlp
from serving.dataplane.handler import DataPlane
from serving.protocol.json.codec import decode_request

REQUESTS = 64


def test_batch_of_requests(
    benchmark: Any, loop: asyncio.AbstractEventLoop, plane: DataPlane
) -> None:
    request = decode_request(mlp.json_body(mlp.rows(1)).data, None, mlp.MODEL, "")

    async def once() -> int:
        tickets = [plane.begin(request) for _ in range(REQUESTS)]
        for ticket in tickets:
            await ticket.item.future
        return sum(ticket.endpoint.finish(ticket).outputs[0].shape[0] for ticket in tickets)

    assert benchmark(lambda: loop.run_until_complete(once())) == REQUESTS
