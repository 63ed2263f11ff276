"""Gives a receiver its messages, one after the other; a dead one disturbs nobody."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from serving.channel.messages.incidents import Incident
from serving.config import Webhook
from serving.incidents.webhooks.outbox import Outbox
from serving.incidents.webhooks.posts import Post, alerts_post, post_of
from serving.store.records import Delivery
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.incidents import WEBHOOK_FAILURES

if TYPE_CHECKING:
    import httpx

LOOK_S: Final = 0.1
"""How soon a message is tried after it has come."""
HELD_S: Final = 5.0
"""How long a message waits for a store that does not answer; rather twice than never."""
REMIND_S: Final = 60.0
"""How often Alertmanager is told again of what is not over; it forgets what it is not told of."""
_NOT_NOW: Final = frozenset({408, 425, 429})

_posting: contextvars.ContextVar[bool] = contextvars.ContextVar("vigil_webhook", default=False)


class _Failed(Exception):
    """A receiver has not taken a message.

    Attributes:
        reason: for the metric.
        final: whether it is no use to try again.
        wait_s: for how long the receiver wants to be left alone; None: it says nothing.
    """

    def __init__(self, reason: str, *, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.wait_s = wait_s


class Sender:
    """Tells one receiver.

    Args:
        outbox: what it is to be told.
        holds: whether a message is not in the store yet: one that was sent and then lost with the
            process would be sent twice.
        active: returns all incidents that are not over, for receivers that must be reminded.
        series: where failures are counted.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        outbox: Outbox,
        holds: Callable[[str], bool],
        active: Callable[[], Iterable[Incident]],
        series: SeriesSet,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._webhook = outbox.webhook
        self._holds = holds
        self._active = active
        self._series = series
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._reminded = 0.0
        self.problem = ""

    async def run(self) -> None:
        """Send what there is until it is cancelled."""
        try:
            while True:
                delivery = self._outbox.next()
                if delivery is not None and not self._held(delivery):
                    await self._deliver(delivery)
                    continue
                if self._webhook.kind == "alertmanager":
                    await self._remind()
                await asyncio.sleep(LOOK_S)
        finally:
            if self._client is not None:
                with contextlib.suppress(Exception):
                    await self._client.aclose()

    def _held(self, delivery: Delivery) -> bool:
        """Whether a message is to wait until the store has it."""
        return 0 <= self._clock() - delivery.next_at < HELD_S and self._holds(delivery.id)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._post(post_of(self._webhook, delivery, self._clock()))
        except _Failed as failed:
            self._count(failed)
            if failed.final:
                self._outbox.done(delivery, "refused")
            else:
                self._outbox.failed(delivery, failed.wait_s)
            return
        except Exception as error:  # noqa: BLE001 - one message must not end all later ones
            report(Event.WEBHOOK_FAILED, f"{self._name} cannot be told of one", error=error)
            self._outbox.done(delivery, "refused")
            return
        self._worked()
        self._outbox.done(delivery, "delivered")

    async def _remind(self) -> None:
        now = self._clock()
        if 0 <= now - self._reminded < REMIND_S:
            return
        self._reminded = now
        try:
            mine = [each for each in self._active() if self._outbox.wants(each)]
            if mine:
                await self._post(alerts_post(self._webhook, mine, now))
                self._worked()
        except _Failed as failed:
            self._count(failed)
        except Exception as error:  # noqa: BLE001 - it must not end what is told later
            report(Event.WEBHOOK_FAILED, f"{self._name} cannot be reminded", error=error)

    async def _post(self, post: Post) -> None:
        """Post something; returns once the receiver has taken it.

        Raises:
            _Failed: it has not.
        """
        client = await self._connected()
        import httpx

        token = _posting.set(True)
        try:
            async with asyncio.timeout(self._webhook.timeout_s):
                sending = client.stream(
                    "POST", post.url, content=post.body, headers=post.headers,
                    timeout=self._webhook.timeout_s,
                )  # fmt: skip
                async with sending as response:  # its body says nothing that matters
                    status, wait = response.status_code, response.headers.get("retry-after", "")
        except (TimeoutError, httpx.TimeoutException):
            raise _Failed("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise _Failed("unreachable") from None
        finally:
            _posting.reset(token)
        if status >= 300:
            final = status < 500 and status not in _NOT_NOW
            wait_s = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else None
            raise _Failed(f"status_{status // 100}xx", final=final, wait_s=wait_s)

    async def _connected(self) -> httpx.AsyncClient:
        """Return the client, which is made once.

        Raises:
            _Failed: the environment names a proxy or certificates that cannot be used.
        """
        if self._client is None:
            try:  # in a thread: to import it and to read all certificates takes half a second
                self._client = await asyncio.to_thread(_new_client)
            except Exception as error:  # noqa: BLE001 - it may be of any kind
                said = f"no client can be made to tell {self._name}; see SSL_CERT_FILE and proxies"
                report(Event.WEBHOOK_FAILED, said, error=error)
                raise _Failed("client") from None
        return self._client

    @property
    def _name(self) -> str:
        return f"the receiver '{self._webhook.name}' of incidents"

    def _count(self, failed: _Failed) -> None:
        name = self._webhook.name
        self._series.sum(WEBHOOK_FAILURES, receiver=name, reason=failed.reason).add(1)
        what = "refuses messages" if failed.final else "does not take messages"
        said = f"{self._name} {what}: {failed.reason.replace('_', ' ')}"
        if said != self.problem:
            report(Event.WEBHOOK_FAILED, said)
        self.problem = said

    def _worked(self) -> None:
        self.problem = ""


def sender_of(
    webhook: Webhook,
    changed: Callable[[str, Delivery | None], None],
    holds: Callable[[str], bool],
    active: Callable[[], Iterable[Incident]],
    series: SeriesSet,
    clock: Callable[[], float],
) -> tuple[Outbox, Sender]:
    """Return the queue of a receiver and what empties it."""
    outbox = Outbox(webhook, changed, series, clock)
    return outbox, Sender(outbox, holds, active, series, clock)


def _new_client() -> httpx.AsyncClient:
    import httpx

    logging.getLogger("httpx").addFilter(_keeps_secrets)
    return httpx.AsyncClient(follow_redirects=False)


def _keeps_secrets(_record: logging.LogRecord) -> bool:
    """Leave out what httpx logs of our requests: their URLs may be secrets."""
    return not _posting.get()
