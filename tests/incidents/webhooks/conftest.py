"""An incident, and a receiver that writes down what it is told and answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from serving.channel.messages.incidents import Evidence, Happening, Incident, Measured
from serving.config import Webhook
from serving.store.records import Delivery


@pytest.fixture
def incident() -> Callable[..., Incident]:
    def make(**more: Any) -> Incident:
        leading = Measured(metric="psi", subject="a<b>&c", value=0.4, threshold=0.1, n_current=500)
        evidence = Evidence(leading=leading, since=1_700_000_000.0)
        given: dict[str, Any] = {
            "id": "k7m2p9qd", "model": "loans", "version": "3", "cause": "drift",
            "monitor": "drift", "metric": "psi", "severity": "ticket", "state": "open",
            "opened_at": 1_700_000_060.0, "updated_at": 1_700_000_060.0,
            "summary": "drift of 'a<b>&c'", "advice": "look", "first": evidence,
            "evidence": evidence, "history": (Happening(1_700_000_060.0, "opened"),),
        }  # fmt: skip
        return Incident(**{**given, **more})

    return make


@pytest.fixture
def delivery(incident: Callable[..., Incident]) -> Callable[..., Delivery]:
    def make(event: str = "opened", ident: str = "d", **more: Any) -> Delivery:
        return Delivery(
            id=ident, receiver="r", event=event, incident=incident(**more),  # type: ignore[arg-type]
            created_at=1_700_000_060.0,
        )  # fmt: skip

    return make


class Receiver:
    """An HTTP server of a few lines, which answers each post with the next of `answers`."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[bytes] = []
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append((first, headers, body))
            answer = self.answers.pop(0) if self.answers else b"200 OK\r\n"
            if not answer:  # never
                await asyncio.Event().wait()
            writer.write(b"HTTP/1.1 " + answer + b"content-length: 0\r\n\r\n")
            await writer.drain()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    assert made.server is not None
    made.server.close()
    for writer in made.writers:
        writer.close()


@pytest.fixture
def webhook() -> Callable[..., Webhook]:
    def make(kind: str = "generic", **more: Any) -> Webhook:
        given: dict[str, Any] = {"kind": kind, "name": "r", "url": "http://127.0.0.1:1/hook"}
        if kind == "pagerduty":
            given["routing_key"] = "a-routing-key"
        return Webhook.model_validate({**given, **more})

    return make
