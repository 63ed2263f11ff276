"""Takes in pairs that somebody else's server has made: joins them, records them, counts them.

`received = 2 * paired + dropped + waiting` holds at any moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from math import prod
from typing import Final

import msgspec
import numpy as np

from serving.channel.messages.directory import Directory
from serving.channel.messages.observation import HALF, HalfMeta, HalfReply
from serving.config import ModelConfig, OutputSpec
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.observing.pairing import Half, Key, Limits, Pairing, Side
from serving.dataplane.requests.passthrough import with_axis
from serving.dataplane.served import ServedVersion
from serving.errors import InvalidInput
from serving.protocol.messages import InferRequest, Tensor
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.cloudevents import (
    CLOUDEVENTS_DROPPED,
    CLOUDEVENTS_PAIRED,
    CLOUDEVENTS_RECEIVED,
)

_decode_reply: Final = msgspec.msgpack.Decoder(HalfReply).decode

LONGEST_S: Final = 3600.0
"""Seconds between a request and its answer beyond which the clocks that told them are wrong."""


class PairIntake:
    """What came in of others' requests and answers. Belongs to one event loop.

    Args:
        series: where what came is counted.
        publisher: reaches the monitor, which joins halves that come to several gateways.
        limits: what may wait for its partner.
        clock: monotonic seconds.
        now: seconds since the epoch.

    Attributes:
        shared: whether other gateways take halves too.
    """

    def __init__(
        self,
        series: SeriesSet,
        publisher: EventPublisher,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._series = series
        self._publisher = publisher
        self.shared = False
        self._clock, self._now = clock, now
        self._pairing = Pairing(self.drop, limits)
        self._timer: asyncio.TimerHandle | None = None
        self._received: dict[Side, SumSeries] = {
            side: series.sum(CLOUDEVENTS_RECEIVED, type=side) for side in ("request", "response")
        }
        self._dropped: dict[str, SumSeries] = {}
        self._paired: dict[tuple[str, str], SumSeries] = {}

    @property
    def waiting(self) -> int:
        """Halves that wait for their partners."""
        return len(self._pairing)

    def on_directory(self, directory: Directory) -> None:
        """Learn whether this is the only gateway."""
        self.shared = len(directory.of_role("gateway")) > 1

    async def half(self, key: Key, side: Side, half: Half) -> tuple[Half, Half] | None:
        """Take in a half; return the request and the answer where it completes them.

        Whoever gets a pair calls `answered` with it, or `drop` with 2.

        Raises:
            ModelNotReady: the monitor is needed, and not there.
        """
        if self.shared:
            meta = HalfMeta(key, side, half.body, half.time)
            # Both halves have the key, wherever they come in; the answer alone may name no model.
            answer = await self._publisher.request(HALF, meta, model="/".join(key))
            self._received[side].value += 1
            reply = _decode_reply(answer.meta)
            if not reply.paired:
                return None
            other = Half(reply.body, reply.time)
            return (half, other) if side == "request" else (other, half)
        self._received[side].value += 1
        pair = self._pairing.add(key, side, half, self._clock())
        self._expire_later()
        return pair

    def drop(self, reason: str, halves: int) -> None:
        """Count halves that are not recorded; reasons are a closed set."""
        dropped = self._dropped.get(reason)
        if dropped is None:
            dropped = self._series.sum(CLOUDEVENTS_DROPPED, reason=reason)
            self._dropped[reason] = dropped
        dropped.value += halves

    def answered(
        self,
        entry: ServedVersion,
        request: InferRequest,
        outputs: Sequence[Tensor],
        *,
        asked: float | None,
        answered: float | None,
        upstream: str = "",
    ) -> None:
        """Record a request and its answer as if a replica of ours had given it.

        Args:
            entry: the served version in whose name they are judged.
            request: as its client sent it.
            outputs: as the other server answered.
            asked, answered: when, in seconds since the epoch; None where it is not known.
            upstream: version that the other server gave; empty where it is the served one.

        Raises:
            InvalidInput: they do not fit the model.
        """
        bound = entry.binder.bind(request)
        arrays = declared_outputs(entry.name, entry.config, outputs, bound.rows)
        now = self._now()
        # A clock ahead of ours must not make findings of the future.
        when = now if answered is None or answered > now else answered
        took_s = 0.0
        if asked is not None and answered is not None and 0 < answered - asked < LONGEST_S:
            took_s = answered - asked
        names = entry.binder.input_names
        entry.recorder.observed(
            request.id, bound, names, arrays, when=when, took_s=took_s, upstream=upstream
        )
        key = entry.name, entry.version
        paired = self._paired.get(key)
        if paired is None:
            paired = self._series.sum(CLOUDEVENTS_PAIRED, model=entry.name, version=entry.version)
            self._paired[key] = paired
        paired.value += 1

    def close(self) -> None:
        """Drop what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pairing.clear()

    def _expire_later(self) -> None:
        at = self._pairing.next_expiry()
        if self._timer is None and at is not None:
            delay = max(0.0, at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._pairing.expire(self._clock())
        self._expire_later()


def declared_outputs(
    name: str, config: ModelConfig, tensors: Sequence[Tensor], rows: int
) -> dict[str, np.ndarray]:
    """Return the model's outputs by name, [rows, ...] each, out of somebody else's answer.

    Raises:
        InvalidInput: one is missing, or is not what `model.yaml` declares.
    """
    given = {tensor.name: tensor for tensor in tensors}
    outputs = {}
    for spec in config.outputs:
        tensor = given.get(spec.name)
        if tensor is None:
            has = ", ".join(list(given)[:8])[:200] or "nothing"
            raise InvalidInput(
                f"the answer has no output '{spec.name}' of model '{name}'; it has {has}"
            )
        if tensor.datatype != spec.datatype:
            raise InvalidInput(
                f"output '{spec.name}' of model '{name}' is {spec.datatype}, not {tensor.datatype}"
            )
        if not config.row_axis:
            tensor = with_axis(tensor)
        if tensor.shape[:1] != (rows,):
            raise InvalidInput(
                f"output '{spec.name}' of model '{name}' has shape {list(tensor.shape)}, but its "
                f"request has {rows} rows"
            )
        outputs[spec.name] = _as_declared(name, spec, tensor)
    return outputs


def _as_declared(name: str, spec: OutputSpec, tensor: Tensor) -> np.ndarray:
    """Return an output with the axes that are declared; some servers add one, or leave it out."""
    dims = tuple(spec.shape[1:])
    given = tensor.shape[1:]
    if len(dims) == len(given) and all(
        want in (-1, got) for want, got in zip(dims, given, strict=True)
    ):
        return tensor.data
    if min(dims, default=0) >= 0 and prod(dims) == prod(given):
        return tensor.data.reshape((tensor.shape[0], *dims))
    raise InvalidInput(
        f"output '{spec.name}' of model '{name}' has shape {list(spec.shape)}, not "
        f"{list(tensor.shape)}"
    )
