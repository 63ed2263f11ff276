"""A process that has imported once what roles need, and forks them.

Importing torch, or what else a format needs, takes seconds; a fork of a process that has it takes
milliseconds and shares its memory. The zygote itself computes nothing, has one thread and no CUDA
context, so that forking it is safe. It obeys JSON lines on the socket it inherits, and ends when
that closes.

What it forks is the supervisor's child and not its own, so that a role outlives the zygote, ends
with the supervisor, and is waited for there: the zygote forks twice, and the process between ends
at once, which makes the kernel give its child to the nearest process above that adopts orphans.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.engines.process import die_with_parent
from serving.models.formats.libraries import import_before_fork, import_for_code
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import configure, last_lines
from serving.telemetry.process_title import set_title

_decode_served = msgspec.msgpack.Decoder(ServedModel).decode


class Zygote:
    """Forks children on request.

    Args:
        control: the socket to the supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._formats: set[str] = set()
        self._buffer = b""

    def run(self) -> None:
        """Serve until the supervisor closes its end."""
        self._tell({"op": "ready"})
        while data := self._control.recv(1 << 20):
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        try:
            self._fork(order)
        except OSError as error:  # no memory for a process, for example
            self._tell({"op": "failed", "id": order["id"], "errno": error.errno})

    def _prepare(self, order: dict[str, Any]) -> None:
        """Import what the model's format needs, with the first model of that format.

        What a model's own code needs of torch is imported with it.
        """
        model_format, factory = order["format"], order["factory"]
        grown = False
        # No format: its configuration cannot be read, and the role says so.
        if model_format and model_format not in self._formats:
            self._formats.add(model_format)
            import_before_fork(model_format)
            grown = True
        if factory and "torch" not in sys.modules:
            grown |= import_for_code(factory, Path(order["directory"]))
        if grown:
            keep_shared()

    def _fork(self, order: dict[str, Any]) -> None:
        self._prepare(order)
        told, tell = os.pipe()
        wait, go = os.pipe()
        between = os.fork()
        if between == 0:
            code = 0
            try:
                child = os.fork()
                if child == 0:
                    for end in (told, tell, go):
                        os.close(end)
                    self._child(order, wait)
                os.write(tell, b"%d" % child)
            except OSError as error:
                code = error.errno or 1
            finally:
                os._exit(code)
        os.close(tell)
        os.close(wait)
        try:
            pid = os.read(told, 32)
            _, status = os.waitpid(between, 0)
            if not pid:
                code = max(0, os.waitstatus_to_exitcode(status))
                raise OSError(code, os.strerror(code))
            # By now it has its new parent, who has to know of it before it does anything.
            self._tell({"op": "forked", "id": order["id"], "pid": int(pid)})
            os.write(go, b"!")
        finally:
            os.close(told)
            os.close(go)

    def _child(self, order: dict[str, Any], wait: int) -> None:
        code = 1
        try:
            if not os.read(wait, 1):  # the zygote has ended, and nobody knows of this process
                os._exit(code)
            os.close(wait)
            die_with_parent()
            if os.getppid() != order["parent"]:
                os._exit(code)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._control.close()
            _run_role(order)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - the child must end here whatever it was
            report(Event.PROCESS_CRASHED, f"{order['id']} ends with an error", error=error)
        finally:
            last_lines()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

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
    arguments = (served, order["id"], order["address"], order["registry"], secret)
    if order["role"] == "replica":
        from serving.replica import role as replica

        replica.run(*arguments)
    else:
        from serving.explaining import role as explainer

        explainer.run(*arguments)


def main() -> None:
    """Import what children need, then serve on the inherited socket."""
    set_title("zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    configure("zygote", sends=False)
    # Imported here for the children's sake: a fork shares them at no cost. Not torch, which takes
    # longer than all the rest: some formats do without.
    import serving.explaining.role
    import serving.replica.role  # noqa: F401

    keep_shared()
    Zygote(control).run()


if __name__ == "__main__":
    main()
