"""ModelStreamInfer over ASGI: requests are worked on at once and answered in their order."""

from __future__ import annotations

import asyncio
import logging
import time

from serving import errors
from serving.dataplane.handler import DataPlane
from serving.gateway.client import client_of
from serving.gateway.grpc_frames import (
    INTERNAL,
    OK,
    Disconnected,
    Receive,
    Scope,
    Send,
    call_options,
    frame,
    read_messages,
    send_end,
    send_start,
    status_trailers,
)
from serving.protocol import grpc_codec
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest
from serving.protocol.status import grpc_status

MOST_IN_FLIGHT = 32

_log = logging.getLogger("vigil.gateway")


async def serve_stream(
    plane: DataPlane, max_body: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one stream of inferences.

    A request that fails is answered with its error and the stream goes on; a message that cannot
    be read, or the deadline of the call, ends the stream with a status.
    """
    await send_start(send)
    # Headers leave with the first piece of the body, and until they have left the server counts
    # the call as a request that comes too slowly.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    trailers = OK
    try:
        timeout_s, encoding = call_options(scope)
        stream = _Stream(plane, send, timeout_s, client_of(scope))
        async with asyncio.timeout(timeout_s):
            await stream.run(max_body, encoding, receive)
    except Disconnected:
        return
    except TimeoutError:
        late = errors.DeadlineExceeded("the deadline of the stream passed; allow more time")
        trailers = status_trailers(grpc_status(late), late.message)
    except errors.VigilError as error:
        trailers = status_trailers(grpc_status(error), error.message)
    except Exception:  # noqa: BLE001 - the client gets a status, the operator the traceback
        _log.exception("unexpected error in a gRPC stream")
        trailers = status_trailers(INTERNAL, "internal error; see the server's log")
    await send_end(send, trailers)


class _Stream:
    """One stream: a reader that starts answers, and a writer that sends them in order."""

    def __init__(self, plane: DataPlane, send: Send, timeout_s: float | None, client: str) -> None:
        self._client = client
        self._plane = plane
        self._send = send
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._answers: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
        self._running: set[asyncio.Task[bytes]] = set()
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._stopped = False

    async def run(self, max_body: int, encoding: str, receive: Receive) -> None:
        """Return once the client has ended its side and every answer is sent."""
        reader = asyncio.ensure_future(self._read(max_body, encoding, receive))
        writer = asyncio.ensure_future(self._write())
        stopper = asyncio.ensure_future(self._stop(reader))
        try:
            await asyncio.gather(reader, writer)
        finally:
            # Whatever ended the stream early: nobody waits for what is still computed.
            for task in (reader, writer, stopper, *self._running):
                task.cancel()
        if self._stopped:
            raise errors.ModelNotReady("the gateway is stopping; open a new stream")

    async def _stop(self, reader: asyncio.Future[None]) -> None:
        """Read nothing new once the gateway is about to stop: an idle stream would hold it up."""
        await self._plane.stopping.wait()
        self._stopped = True
        reader.cancel()

    async def _read(self, max_body: int, encoding: str, receive: Receive) -> None:
        try:
            async for payload in read_messages(max_body, encoding, receive):
                await self._room.acquire()
                task = asyncio.ensure_future(self._answer(grpc_codec.parse_request(payload)))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                self._answers.put_nowait(task)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        self._answers.put_nowait(None)

    async def _write(self) -> None:
        while (task := await self._answers.get()) is not None:
            body = frame(await task)
            try:
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
            except Exception:  # noqa: BLE001 - each server has its own for a client that is gone
                raise Disconnected from None
            self._room.release()

    async def _answer(self, message: ModelInferRequest) -> bytes:
        try:
            request = grpc_codec.decode_request(message)
            left = None if self._deadline is None else self._deadline - time.monotonic()
            response = await self._plane.infer(request, left, self._client)
            raw = grpc_codec.wants_raw(message)
            answer = grpc_codec.stream_response(response, request, raw)
        except errors.VigilError as error:
            # Texts in protobuf are Unicode; a model's own message may hold anything.
            text = error.message.encode("utf-8", "replace").decode()
            answer = grpc_codec.stream_error(text, message.id)
        except Exception:  # noqa: BLE001 - the client gets a sentence, the operator the traceback
            _log.exception("unexpected error in a gRPC stream")
            answer = grpc_codec.stream_error("internal error; see the server's log", message.id)
        content: bytes = answer.SerializeToString()
        return content
