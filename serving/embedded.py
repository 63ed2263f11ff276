"""Vigil inside an existing web application: an ASGI app to mount, and calls without HTTP.

The data plane runs in the web server's own event loop; replicas, explainers and the monitor are
its children. There is no gateway process, no Envoy and no Ray, and torch is not imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from numpy.typing import ArrayLike
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.config import load_server
from serving.dataplane.context import RequestContext
from serving.engines.embedded import EmbeddedInstance
from serving.errors import InvalidInput, ModelNotReady, VigilError
from serving.gateway.mounted import is_grpc, refuse, refuse_grpc, under, without_prefix
from serving.protocol.arrays import tensor_of
from serving.protocol.ids import chosen_id
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

RETRY_S: Final = 5.0
"""Seconds after which a request may try anew what failed to start."""


class Vigil:
    """Serves a folder of models inside the process that makes it; an ASGI app.

    Making one does nothing yet. It starts with `async with`, with `start`, with the lifespan of a
    server that runs it, or else with its first request; until it has started, requests get 503.
    It belongs to the event loop that started it. Each worker process of a web server has an
    instance, so replicas and a monitor, of its own.

    Args:
        models: folder of the models; none: what the configuration says.
        data_dir: where monitors keep their state, in one folder for each worker; none: what the
            configuration says.
        config: a `vigil.yaml`; its `engine`, `ingress`, `transport`, `gateways`, addresses and
            ports do not apply.
        clients_control: whether whoever may infer may also load and unload models and change
            trace settings. Only the application knows who reaches it, so by default nobody may.

    Attributes:
        admin: a second ASGI app with the console, `/metrics`, `/readyz` and the model repository.
            Whoever reaches it may give orders: mount it behind the application's own login.
    """

    def __init__(
        self,
        models: Path | str | None = None,
        data_dir: Path | str | None = None,
        config: Path | str | None = None,
        *,
        clients_control: bool = False,
    ) -> None:
        self._overrides: dict[str, Any] = {
            "engine": "local",
            "ingress": "direct",
            "transport": "channel",
            **({"models": Path(models)} if models is not None else {}),
            **({"data_dir": Path(data_dir)} if data_dir is not None else {}),
        }
        self._config = Path(config) if config is not None else None
        self._clients_control = clients_control
        self.admin: ASGIApp = self._admin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._instance: EmbeddedInstance | None = None
        self._problem: VigilError | None = None
        self._retry_at = 0.0
        self._stopped = False

    # -- life ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start every process; returns before models are loaded, which `ready` waits for.

        Raises:
            VigilError: the configuration or the models' folder is wrong.
        """
        self._stopped = False
        self._begin()
        await self._settled.wait()
        if self._problem is not None:
            raise self._problem

    async def ready(self, timeout_s: float = 120) -> None:
        """Wait until an inference through every required model has worked; starts if need be.

        Raises:
            VigilError: it does not start, a model cannot be loaded, or time is up.
        """
        await self.start()
        reasons: list[str] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (instance := self._instance) is not None:
                    ready, reasons = instance.ready()
                    if ready:
                        return
                    if instance.failures():
                        break
                    await instance.news(1)
        raise ModelNotReady("not ready: " + ("; ".join(reasons) or "it has been stopped"))

    async def stop(self) -> None:
        """End every child process; what has been asked by then is answered."""
        self._stopped = True
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.wait({life})

    def _begin(self) -> None:
        """Make the task that starts, watches and ends the instance, unless it is there.

        Raises:
            ModelNotReady: another event loop has it.
        """
        loop = asyncio.get_running_loop()
        if self._life is not None and not self._life.done():
            if self._loop is loop:
                return
            if self._loop is not None and not self._loop.is_closed():
                raise ModelNotReady("Vigil belongs to the event loop that started it; ask it there")
        self._loop = loop
        self._problem = self._instance = None
        self._settled = asyncio.Event()
        self._life = loop.create_task(self._live(self._settled))

    async def _live(self, settled: asyncio.Event) -> None:
        instance: EmbeddedInstance | None = None
        try:
            settings = load_server(self._config, self._overrides)
            instance = EmbeddedInstance(settings, clients_control=self._clients_control)
            await instance.start()
            self._instance = instance
            settled.set()
            await instance.watch()
        except VigilError as error:
            self._fail(error)
            report(Event.START_REFUSED, f"Vigil did not start: {error.message}")
        except Exception as error:  # noqa: BLE001 - the application goes on without it
            self._fail(ModelNotReady("the model server failed; see the log of the application"))
            report(Event.PROCESS_CRASHED, "Vigil failed", error=error)
        finally:
            self._instance = None
            if self._problem is None:
                self._problem = ModelNotReady("the model server has been stopped")
            if instance is not None:
                await instance.stop()
            settled.set()

    def _fail(self, error: VigilError) -> None:
        self._problem = error
        self._retry_at = asyncio.get_running_loop().time() + RETRY_S

    def _here(self) -> EmbeddedInstance:
        """Return the running instance; begin to start one when there is none.

        Raises:
            ModelNotReady: it is starting, did not start, or was stopped.
        """
        if self._stopped:
            raise ModelNotReady("the model server has been stopped")
        problem = self._problem
        if problem is None or asyncio.get_running_loop().time() >= self._retry_at:
            self._begin()
        if self._instance is None:
            said = problem.message if problem else "the model server is starting; retry later"
            raise ModelNotReady(said, retry_after_s=RETRY_S if problem else 1)
        return self._instance

    # -- ASGI ---------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope, below whatever prefix it is mounted at."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and is_grpc(scope):
            await refuse_grpc(send)
        else:
            await self._pass("app", scope, receive, send)

    def beside(self, other: ASGIApp, at: str) -> ASGIApp:
        """Return an app that answers below the prefix `at` and leaves the rest to `other`.

        For applications without a lifespan, such as Django's: the server's starts and stops Vigil.

        Raises:
            InvalidInput: `at` does not begin with a slash, or names nothing.
        """
        prefix = at.rstrip("/")
        if not prefix.startswith("/"):
            raise InvalidInput(f"'{at}' is no prefix of a path; it must be like /models")

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            elif (inner := under(scope, prefix)) is not None:
                await self(inner, receive, send)
            else:
                await other(scope, receive, send)

        return both

    async def _admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pass("admin", scope, receive, send)

    async def _pass(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] != "http":
                raise InvalidInput("there are no websockets here")
            instance = self._here()
        except VigilError as error:
            await refuse(scope, receive, send, error)
            return
        if name == "admin":
            await instance.admin(scope, receive, send)
        else:
            await instance.app(without_prefix(scope), receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except VigilError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    # -- without HTTP -------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        id: str | None = None,  # noqa: A002 - the protocol's name
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> InferResponse:
        """Ask a model from the application's own code, as a request over HTTP would.

        Args:
            model: its name.
            inputs: what each input gets, first axis the rows; copied.
            version: empty: the newest that is ready.
            id: names the request, for labels; none: a new one, which the answer tells.
            outputs: names of those wanted; none: all.
            parameters: of the protocol, such as `sensitive_features` or `priority`.
            timeout_s: seconds that the answer may take.

        Returns:
            The answer; `outputs` are tensors with name, shape and `data`, a numpy array.

        Raises:
            VigilError: whatever went wrong, as the domain's exception (`serving.errors`).
        """
        plane = self._here().app.plane
        assert plane is not None
        entry = plane.resolve(model, version)
        datatypes = {spec.name: spec.datatype for spec in entry.config.inputs}
        unknown = sorted(set(inputs) - set(datatypes))
        if unknown:
            raise InvalidInput(
                f"model '{model}' has no input '{unknown[0]}'; it has {', '.join(datatypes)}"
            )
        tensors = tuple(tensor_of(name, datatypes[name], inputs[name]) for name in inputs)
        wanted = tuple(RequestedOutput(name) for name in outputs)
        request = InferRequest(model, version, chosen_id(id, None), tensors, wanted, parameters)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return await plane.infer(request, RequestContext(deadline=deadline))
