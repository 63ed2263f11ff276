"""Child processes of the supervisor: started, watched, restarted with growing pauses."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.control.served_model import config_of
from serving.engines.process import NOT_STARTED, Adoption, tied
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
STEADY_S = 30.0
"""A child that ran this long before it died is restarted after the first pause again."""


class Child(Protocol):
    """A running child process."""

    pid: int

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""


@dataclass(slots=True)
class Keeper:
    """Keeps one child running until told to stop.

    Attributes:
        name: for logs.
        start: starts the child.
        on_exit: told the exit code when a child ended that should not have.
    """

    name: str
    start: Callable[[], Any]
    on_exit: Callable[[str, int], None]
    child: Child | None = None
    stopping: bool = False
    _task: asyncio.Task[None] | None = field(default=None)

    def run(self) -> None:
        """Begin to keep."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while not self.stopping:
            started = loop.time()
            try:
                self.child = await self.start()
                assert self.child is not None
                code = await self.child.wait()
            except Exception as error:  # noqa: BLE001 - for example no memory for a process
                report(
                    Event.PROCESS_NOT_STARTED,
                    f"{self.name} cannot be started{_why(error)}",
                    error=error,
                    process=self.name,
                )
                code = NOT_STARTED
            self.child = None
            if self.stopping:
                return
            self.on_exit(self.name, code)
            pause = FIRST_PAUSE_S if loop.time() - started > STEADY_S else min(
                pause * 2, LONGEST_PAUSE_S
            )  # fmt: skip
            await asyncio.sleep(pause)

    def signal(self, number: int) -> None:
        """Send a signal to the child, if there is one."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, number)

    async def stop(self, grace_s: float) -> None:
        """End the child: TERM, and KILL after the grace time."""
        self.stopping = True
        self.signal(signal.SIGTERM)
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=grace_s if self.child else 0.0)
        if not done:
            self.signal(signal.SIGKILL)
            if self.child is None:
                self._task.cancel()
            await asyncio.wait({self._task}, timeout=5)


def _kind_of(served: ServedModel) -> dict[str, str]:
    """Return what the zygote chooses imports by."""
    try:
        config = config_of(served)
    except ValueError:  # the role says what is wrong with it
        return {"format": "", "factory": ""}
    return {"format": config.format, "factory": config.factory or ""}


def _why(error: Exception) -> str:
    """Return what the system says; the text of other errors is not for the log."""
    return f": {error}" if isinstance(error, OSError) else ""


async def spawn(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
    """Start a program as a child that dies with us and has its own session.

    Its own session keeps Ctrl-C in a terminal from reaching it before we drain it.
    """
    return await asyncio.create_subprocess_exec(*tied(argv), env=env, start_new_session=True)


class ForkedChild:
    """A child that the zygote has made for this process; see `engines.zygote`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended, and somebody else has waited for it
            self.ended.set_result(-signal.SIGKILL)
        else:
            self._loop.add_reader(self._descriptor, self._reap)

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return await asyncio.shield(self.ended)

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        try:
            _, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # An application that waits for every child there is has the status. It may be anything.
            code = -signal.SIGKILL
        else:
            code = os.waitstatus_to_exitcode(status)
        if not self.ended.done():
            self.ended.set_result(code)


_adoption: Final = Adoption()


class ZygoteClient:
    """The supervisor's end of the zygote's socket; see `engines.zygote`.

    Attributes:
        ready: whether it has ever been ready.
        lost: done once it has ended.
    """

    def __init__(self) -> None:
        self.ready = False
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._starting: dict[str, asyncio.Future[ForkedChild]] = {}
        self._listener: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> int:
        """Start the zygote and return its pid; orders wait in the socket until it is ready."""
        ours, theirs = socket.socketpair()
        # One thread per numerics library, and none of arrow's: a fork must not meet another thread.
        env = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        }
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tied([sys.executable, "-m", "serving.engines.local.zygote", str(theirs.fileno())]),
                pass_fds=[theirs.fileno()], env=env, start_new_session=True,
            )  # fmt: skip
        except BaseException:  # no memory for a process, or nobody wants it any more
            ours.close()
            raise
        finally:
            theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        return self._process.pid

    async def fork(
        self,
        role: str,
        served: ServedModel,
        ident: str,
        address: str,
        registry: str,
        secret: bytes | None,
    ) -> ForkedChild:
        """Fork a role's process and return it."""
        assert self._writer is not None
        if self.lost.done():
            raise ConnectionError("the zygote died")
        order = {
            "role": role,
            **_kind_of(served),
            "directory": served.directory,
            "served": base64.b64encode(msgspec.msgpack.encode(served)).decode(),
            "id": ident,
            "address": address,
            "registry": registry,
            "secret": secret.hex() if secret else "",
            "parent": os.getpid(),
        }
        future: asyncio.Future[ForkedChild] = asyncio.get_running_loop().create_future()
        self._starting[ident] = future
        self._follow_orders()
        self._writer.write(json.dumps(order).encode() + b"\n")
        return await future

    async def stop(self) -> None:
        """End the zygote and reap it; what it has made lives on, what it still makes does not."""
        for future in self._starting.values():
            future.cancel()
        if self._writer:
            if not self.lost.done():
                self._writer.write_eof()
            await self.lost
            self._writer.close()
        if self._process:
            await self._process.wait()

    def _follow_orders(self) -> None:
        """Adopt orphans as long as children are made: nobody else's are wanted here."""
        _adoption.want(self, wanted=bool(self._starting))

    async def _listen(self) -> None:
        assert self._reader is not None
        try:
            while line := await self._reader.readline():
                self._told(json.loads(line))
        except OSError as error:
            said = "the connection to the zygote broke"
            report(Event.PROCESS_ENDED, said, error=error, process="zygote")
        for future in self._starting.values():
            if not future.done():
                future.set_exception(ConnectionError("the zygote died"))
        self._starting.clear()
        self._follow_orders()
        self.lost.set_result(None)

    def _told(self, message: dict[str, Any]) -> None:
        if message["op"] == "ready":
            self.ready = True
            return
        future = self._starting.pop(message["id"], None)
        self._follow_orders()
        if message["op"] == "forked":
            child = ForkedChild(message["pid"])
            if future is not None and not future.done():
                future.set_result(child)
            else:  # whoever ordered it has been stopped in the meantime
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        elif future is not None and not future.done():
            number = message["errno"]
            future.set_exception(OSError(number, os.strerror(number)))
