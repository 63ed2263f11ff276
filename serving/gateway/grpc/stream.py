"""ModelStreamInfer over ASGI: requests are worked on at once and answered in their order."""

from __future__ import annotations

import asyncio
from functools import partial

from serving import errors
from serving.gateway.grpc.paths import STREAM_INFER
from serving.gateway.grpc.stream_call import StreamCall, cancel_all, stopping
from serving.gateway.internal_errors import client_error
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelStreamInferResponse

MOST_IN_FLIGHT = 32


async def stream_infer(call: StreamCall) -> None:
    """Answer one stream of inferences.

    A request that fails is answered with its error and the stream goes on. A message that cannot
    be read ends it with a status, behind the answers to what came before; the deadline of the call
    ends it at once.
    """
    await _Stream(call).run()


class _Stream:
    """One stream: a reader that starts answers, and a writer that sends them in order."""

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._plane = call.plane
        self._answers: asyncio.Queue[
            asyncio.Task[ModelStreamInferResponse] | errors.VigilError | None
        ] = asyncio.Queue()
        self._running: set[asyncio.Task[ModelStreamInferResponse]] = set()
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._stopped = False

    async def run(self) -> None:
        """Return once the client has ended its side and every answer is sent."""
        tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())]
        tasks.append(asyncio.ensure_future(self._stop(tasks[0])))
        try:
            await asyncio.gather(*tasks[:2])
        finally:
            # Whatever ended the stream early: nobody waits for what is still computed.
            cancel_all([*self._running])
            cancel_all(tasks)
            self._answers = asyncio.Queue()  # answers that fail know the stream, so not it them
        if self._stopped:
            raise stopping()

    async def _stop(self, reader: asyncio.Future[None]) -> None:
        """Read nothing new once the gateway is about to stop: an idle stream would hold it up."""
        await self._plane.stopping.wait()
        self._stopped = True
        reader.cancel()

    async def _read(self) -> None:
        try:
            async for payload in self._call.messages():
                await self._room.acquire()
                task = asyncio.ensure_future(self._answer(grpc_codec.parse_request(payload)))
                self._running.add(task)
                task.add_done_callback(partial(self._answered, len(payload)))
                self._answers.put_nowait(task)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        except errors.VigilError as error:
            self._answers.put_nowait(error)
        self._answers.put_nowait(None)

    def _answered(self, size: int, task: asyncio.Task[ModelStreamInferResponse]) -> None:
        self._running.discard(task)
        self._call.share.give_back(size)

    async def _write(self) -> None:
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, errors.VigilError):
                raise answer.anew()
            await self._call.send(await answer)
            self._room.release()

    async def _answer(self, message: ModelInferRequest) -> ModelStreamInferResponse:
        try:
            self._call.require(message.model_name)
            request = grpc_codec.decode_request(message)
            response = await self._plane.infer(request, self._call.context)
            answer = grpc_codec.stream_response(response, request)
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
            said = "a message of a gRPC stream could not be answered"
            # Not by a name: its traceback knows this frame, and so the frame would know itself.
            text = client_error(
                error, said, request_id=message.id, path=STREAM_INFER,
                traceparent=self._call.context.traceparent,
            ).message  # fmt: skip
            # Texts in protobuf are Unicode; a model's own message may hold anything.
            text = text.encode("utf-8", "replace").decode()
            answer = grpc_codec.stream_error(text, message.id)
        return answer
