"""The first batch over a new link: does a replica answer the model's example?"""

from __future__ import annotations

import asyncio
from typing import Any

from serving.channel.messages.inference import PROBE, BatchResult
from serving.config import ModelConfig
from serving.dataplane.links.link import ReplicaLink, ReplicaLost
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.binding import Binder
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.errors import InvalidInput, ModelNotReady, Unreachable, VigilError
from serving.models.blank_row import blank_row
from serving.protocol.example import decode_example
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Probe:
    """The example of one model version; a row of zeros where it has none.

    Args:
        name, version: what it is of.
        config: its configuration.
        binder: checks its requests.
        example: an OIP JSON request; None without one.

    Raises:
        InvalidInput: the example is no request of the model.
    """

    def __init__(
        self, name: str, version: str, config: ModelConfig, binder: Binder, example: bytes | None
    ) -> None:
        self._name, self._version = name, version
        self._config = config
        self._input_names = binder.input_names
        self._outputs = {spec.name for spec in config.outputs}
        first = self._zeros()
        if example is not None:
            bound = self._bound(example, binder)
            # Without anybody's credential the server would refuse it.
            first = first if config.passes_credentials else bound
        self._batch = self._batch_of(first)

    def _bound(self, example: bytes, binder: Binder) -> Bound:
        try:
            return binder.bind(decode_example(example, self._name, self._version))
        except InvalidInput as error:
            raise InvalidInput(
                f"{self._config.example}, which model.yaml names as `example`: {error.message}"
            ) from None

    def _zeros(self) -> Bound:
        """A row of zeros, for models that come without an example."""
        specs = {spec.name: spec for spec in self._config.inputs}
        arrays = [blank_row(specs[name]) for name in self._input_names]
        # Zeros may be no food for a model that is not ours to try: it is asked whether it is there.
        forward = b"" if self._config.remote is None else PROBE
        return Bound(tuple(arrays), 1, tuple(a.shape[1:] for a in arrays), (), None, forward)

    def _batch_of(self, bound: Bound) -> Batch:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        return Batch(self._input_names, [Pending("probe", bound, future, 0.0)], 0.0)

    async def run(self, link: ReplicaLink) -> str | None:
        """Send it over a link; return why that is no proof, and None if it has worked."""
        try:
            result = await link.send(self._batch)
        except ReplicaLost:
            problem = "a replica died in its first inference"
            self._report(problem)
            return problem
        except VigilError as error:
            if not isinstance(error, ModelNotReady):
                self._report("a replica refused the example", answer=type(error).__name__)
            return error.message
        except Exception as error:  # noqa: BLE001 - whatever its answer was, it is no proof
            self._report(f"{link.id} does not answer the example", error=error)
            return "a replica's first answer cannot be read; see the server's log"
        return self._problem_of(result)

    def _problem_of(self, result: BatchResult) -> str | None:
        if result.meta.failed:
            has_example = self._config.example is not None
            tried = "the example" if has_example else "without an example, a row of zeros"
            more = "" if has_example else "; name a request that it answers by `example`"
            cause = next(iter(result.meta.causes.values()), None)
            self._report("the model fails on its example", cause=cause)
            return f"{tried} fails: {next(iter(result.meta.failed.values()))}{more}"
        if missing := self._outputs - result.outputs.keys():
            problem = f"the model does not give output '{min(missing)}'"
            self._report(problem)
            return problem
        return None

    async def reach(self, link: ReplicaLink) -> str | None:
        """Ask a replica of a model on another server whether that can be reached; why not.

        Nothing is computed. A server that refuses, or takes long, is there.
        """
        try:
            await link.send(self._batch_of(self._zeros()))
        except Unreachable as error:
            return error.message
        except (ReplicaLost, VigilError):
            return None
        return None

    def _report(self, said: str, **more: Any) -> None:
        said += ", so it gets no traffic from here"
        report(Event.VERSION_UNPROVEN, said, model=self._name, version=self._version, **more)
