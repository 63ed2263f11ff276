"""A process that has imported once what roles need, and forks them.

Importing torch, or what a format needs, takes seconds; a fork of a process that has it takes
milliseconds and shares its memory. The zygote itself computes nothing, has one thread and no CUDA
context, so that forking it is safe. It obeys JSON lines on the socket it inherits, and dies, with
its children, when that closes.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

import msgspec

from serving.channel.directory import ServedModel
from serving.engines.process import die_with_parent
from serving.logs.events import Event
from serving.logs.report import current, report
from serving.logs.setup import configure
from serving.models.format_libraries import import_libraries
from serving.telemetry.process_title import set_title

_decode_served = msgspec.msgpack.Decoder(ServedModel).decode


class Zygote:
    """Forks children on request and tells when they end.

    Args:
        control: the socket to the supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, str] = {}
        self._formats: set[str] = set()
        self._buffer = b""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)

    def run(self) -> None:
        """Serve until the supervisor closes its end."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._tell({"op": "ready"})
        while True:
            readable, _, _ = select.select([self._control.fileno(), self._wake_read], [], [])
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in readable and not self._obey():
                return

    def _obey(self) -> bool:
        data = self._control.recv(1 << 20)
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._fork(json.loads(line))
        return True

    def _prepare(self, order: dict[str, Any]) -> None:
        """Import what the model's format needs, with the first model of that format."""
        model_format = order["format"]
        if model_format not in self._formats:
            self._formats.add(model_format)
            import_libraries(model_format)
            keep_shared()

    def _fork(self, order: dict[str, Any]) -> None:
        self._prepare(order)
        pid = os.fork()
        if pid == 0:
            self._child(order)
        self._children[pid] = order["id"]
        self._tell({"op": "forked", "id": order["id"], "pid": pid})

    def _child(self, order: dict[str, Any]) -> None:
        code = 1
        try:
            die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._control.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            _run_role(order)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - the child must end here whatever it was
            report(Event.PROCESS_CRASHED, f"{order['id']} ends with an error", error=error)
        finally:
            current().flush(everything=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ident = self._children.pop(pid, "")
            code = os.waitstatus_to_exitcode(status)
            self._tell({"op": "exited", "id": ident, "pid": pid, "code": code})

    def _tell(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")


def keep_shared() -> None:
    """Keep collections, here and in children, from writing to memory that they share."""
    gc.collect()
    gc.freeze()


def _run_role(order: dict[str, Any]) -> None:
    served = _decode_served(base64.b64decode(order["served"]))
    secret = bytes.fromhex(order["secret"]) if order["secret"] else None
    configure(order["role"], model=served.name, version=served.version)
    arguments = (served, order["id"], order["address"], order["hub"], secret)
    if order["role"] == "replica":
        from serving.roles import replica

        replica.run(*arguments)
    else:
        from serving.roles import explainer

        explainer.run(*arguments)


def main() -> None:
    """Import what children need, then serve on the inherited socket."""
    set_title("zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    configure("zygote")
    # Imported here for the children's sake: a fork shares them at no cost.
    import torch.export  # noqa: F401

    import serving.roles.explainer
    import serving.roles.replica  # noqa: F401

    keep_shared()
    Zygote(control).run()


if __name__ == "__main__":
    main()
