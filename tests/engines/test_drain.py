"""Draining against an Envoy admin socket that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from serving.engines import drain
from serving.engines.drain import drain_envoy

STAT = "http.inference.downstream_rq_active: {}\n"


class FakeAdmin:
    """Answers one request per connection; `active` are the counts it tells, the last for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.active = ["0"]
        self.asked: list[str] = []
        self.hang = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            self.asked.append(" ".join(head.decode().split()[:2]))
            if self.hang:
                await asyncio.sleep(3600)
            text = "OK\n"
            if "/stats" in self.asked[-1]:
                value = self.active.pop(0) if len(self.active) > 1 else self.active[0]
                text = STAT.format(value) if value else ""
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()


@pytest.fixture
async def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAdmin]:
    monkeypatch.setattr(drain, "POLL_S", 0.005)
    admin = FakeAdmin(tmp_path / "admin")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await admin.answer(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(connected, admin.path)
    yield admin
    server.close()
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    await asyncio.sleep(0)


async def test_it_waits_until_nothing_is_in_flight(admin: FakeAdmin) -> None:
    admin.active = ["3", "1", "0", "2", "0"]
    assert await drain_envoy(admin.path, 5)
    assert admin.asked[:2] == [
        "POST /healthcheck/fail", "POST /drain_listeners?graceful&skip_exit",
    ]  # fmt: skip
    # One zero between requests is not the end; two in a row are.
    assert len(admin.asked) == 2 + 6


async def test_no_counter_yet_means_no_request_yet(admin: FakeAdmin) -> None:
    admin.active = [""]
    assert await drain_envoy(admin.path, 5)


@pytest.mark.parametrize("active", ["7", "what?"])
async def test_it_says_when_not_everything_was_answered(admin: FakeAdmin, active: str) -> None:
    admin.active = [active]
    assert not await drain_envoy(admin.path, 0.1)


async def test_a_hanging_admin_is_given_up_in_time(
    admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.hang = True
    # Else the client would give up by itself, after some seconds.
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, timeout=None))
    async with asyncio.timeout(60):
        assert not await drain_envoy(admin.path, 0.1)


async def test_nobody_there(tmp_path: Path) -> None:
    assert not await drain_envoy(tmp_path / "nothing", 5)
