"""The roles behind the gateways on one machine: replicas, explainers, monitors, and their zygote.

They serve whoever listens to the same control plane: the local engine's gateways, or an application
    that
hosts a gateway itself. Which models they hold may change while they run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from serving.channel.messages.control import HUNG, EndedMeta
from serving.channel.messages.directory import ModelKey, ServedModel
from serving.config import Log
from serving.config.cloudevents import CLOUDEVENTS_VARIABLE, CloudEvents
from serving.config.log import LOG_VARIABLE
from serving.control.served_model import config_of
from serving.engines.children import ForkedChild, Keeper, spawn
from serving.engines.exits import how_ended, tell_exit, tell_hung
from serving.engines.local.load_turns import LoadTurns
from serving.engines.local.memory_kills import MemoryKills
from serving.engines.local.zygote_keeper import ZygoteKeeper

STOP_S: Final = 5.0
"""What a role may take to finish and leave."""
_FROM_OUTSIDE: Final = frozenset(
    (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT)
)
"""Exit codes that are no evidence against what a process computed: anybody may send these."""


class LocalRoles:
    """Starts, keeps and stops every role but the gateways and the control plane. Belongs to one
    loop.

    Args:
        registry_address: where the control plane listens.
        runtime: short private folder for sockets; their paths are limited to 107 bytes.
        data_dir: where monitors keep their state.
        log: how predictions are logged; None: not at all.
        on_failed: told of a replica that ended without being told to, in one sentence.
        on_ended: told how it ended.

    Attributes:
        zygote: what starts replicas and explainers.
        on_explainer_ended: told of an explainer that did; it is not started again by itself.
        cloudevents: who monitors tell of predictions; None: nobody.
    """

    def __init__(
        self,
        registry_address: str,
        runtime: Path,
        data_dir: Path,
        log: Log | None = None,
        on_failed: Callable[[ModelKey, str], None] = lambda _key, _why: None,
        on_ended: Callable[[EndedMeta], None] = lambda _ended: None,
    ) -> None:
        self._registry_address = registry_address
        self._runtime = runtime
        self._data_dir = data_dir
        self._log = log
        self._on_failed = on_failed
        self._on_ended = on_ended
        self._memory = MemoryKills()
        self._hung: set[str] = set()
        self.on_explainer_ended: Callable[[ModelKey, str], None] = lambda _key, _why: None
        self.cloudevents: CloudEvents | None = None
        self.zygote = ZygoteKeeper()
        self._replicas: dict[ModelKey, dict[str, Keeper]] = {}
        self._explainers: dict[ModelKey, Keeper] = {}
        self._limits: dict[str, float] = {}
        self._monitors: list[Keeper] = []
        self._turns = LoadTurns()
        self._numbers = itertools.count()
        self._indices: dict[tuple[str, str], itertools.count[int]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the zygote; roles may be ordered at once, they wait for it."""
        await self.zygote.start()

    def serve(self, models: Sequence[ServedModel], candidates: Sequence[ServedModel] = ()) -> None:
        """Hold these models and no others: start what is missing, stop what is not wanted.

        Args:
            models: what answers clients.
            candidates: what is tried.
        """
        all_of_them = (*models, *candidates)
        wanted = {each.key: each for each in all_of_them if config_of(each).replicated}
        for key in [key for key in self._replicas if key not in wanted]:
            keepers = self._replicas.pop(key)
            for ident in keepers:
                del self._limits[ident]
            self._leave(keepers.values())
        for key, served in wanted.items():
            if key not in self._replicas:
                self._start_replicas(served)

    def explain(self, models: Sequence[ServedModel]) -> None:
        """Hold an explainer of each of these models, and no others."""
        wanted = {served.key: served for served in models}
        for key in [key for key in self._explainers if key not in wanted]:
            self._leave([self._explainers.pop(key)])
        for key, served in wanted.items():
            if key not in self._explainers:
                ident = f"explainer-{served.name}-{served.version}-{next(self._numbers)}"
                self._explainers[key] = self._forked("explainer", served, ident)

    def start_monitors(self, idents: Iterable[str]) -> None:
        """Start the monitors, for which no request waits."""
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        if self._log is not None:
            env[LOG_VARIABLE] = self._log.model_dump_json()
        if self.cloudevents is not None:
            env[CLOUDEVENTS_VARIABLE] = self.cloudevents.model_dump_json()
        for ident in idents:
            keeper = Keeper(ident, partial(spawn, self._monitor_argv(ident), env), tell_exit)
            keeper.run()
            self._monitors.append(keeper)

    def _monitor_argv(self, ident: str) -> list[str]:
        return [
            sys.executable, "-m", "serving.monitoring.role",
            "--registry", self._registry_address,
            "--address", f"unix:{self._runtime}/{ident}.sock",
            "--data-dir", str(self._data_dir.absolute()),
            "--id", ident,
        ]  # fmt: skip

    def joined(self, ident: str) -> None:
        """A role has loaded its model and told the control plane that it is there."""
        self._turns.leave(ident)

    def kill_hung(self, busy: Iterable[tuple[str, float]]) -> None:
        """Kill replicas whose batch computes for too long; they are started again.

        Args:
            busy: members' ids, and for how many seconds each has computed.
        """
        self._memory.look()
        keepers = {ident: keeper for of in self._replicas.values() for ident, keeper in of.items()}
        for ident, busy_s in busy:
            if ident in keepers and busy_s > self._limits[ident]:
                key = next(key for key, of in self._replicas.items() if ident in of)
                tell_hung(ident, key[0], key[1], busy_s)
                self._hung.add(ident)
                keepers[ident].signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End every role, then the zygote."""
        self.serve(())
        self.explain(())
        monitors, self._monitors = self._monitors, []
        self._leave(monitors)
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self.zygote.stop()

    # -- one role -----------------------------------------------------------------------

    def _start_replicas(self, served: ServedModel) -> None:
        replicas = config_of(served).replicas
        keepers: dict[str, Keeper] = {}
        # Counted on over revisions: for a while old and new replicas of a version are both there.
        indices = self._indices.setdefault((served.name, served.version), itertools.count())
        for _ in range(replicas.min):
            ident = f"replica-{served.name}-{served.version}-{next(indices)}"
            keepers[ident] = self._forked("replica", served, ident)
            self._limits[ident] = replicas.hang_timeout_s
        self._replicas[served.key] = keepers

    def _forked(self, role: str, served: ServedModel, ident: str) -> Keeper:
        # Names of models may be long, socket paths may not.
        address = f"unix:{self._runtime}/{role}-{next(self._numbers)}.sock"

        async def fork() -> ForkedChild:
            self._hung.discard(ident)
            # What is on another server is not loaded, and a question waits for an explainer.
            config = config_of(served)
            if role == "replica" and config.remote is None:
                await self._turns.enter(ident, required=config.required)
            try:
                child = await self.zygote.fork(
                    role, served, ident, address, self._registry_address, None
                )
            except BaseException:
                self._turns.leave(ident)
                raise
            child.ended.add_done_callback(lambda _: self._turns.leave(ident))
            return child

        def exited(name: str, code: int) -> None:
            why = f"its process ended with {how_ended(code)}"
            if role == "replica":
                self._on_ended(self._end_of(name, code))
                tell_exit(name, code, served.name, served.version)
                self._on_failed(served.key, why)
            else:
                next_start = "a later question starts it again"
                tell_exit(name, code, served.name, served.version, next_start)
                keeper.stopping = True
                if self._explainers.get(served.key) is keeper:
                    del self._explainers[served.key]
                self.on_explainer_ended(served.key, why)

        keeper = Keeper(ident, fork, exited)
        keeper.run()
        return keeper

    def _end_of(self, ident: str, code: int) -> EndedMeta:
        """Say how a replica ended, and whether what it computed did that."""
        if ident in self._hung:
            self._hung.discard(ident)
            return EndedMeta(ident, HUNG, True)
        if code == -signal.SIGKILL and self._memory.lately():
            return EndedMeta(ident, "was ended for lack of memory", True)
        # What a model does to itself by other signals is a crash; nobody else sends those.
        return EndedMeta(ident, f"ended with {how_ended(code)}", code not in _FROM_OUTSIDE)

    def _leave(self, keepers: Iterable[Keeper]) -> None:
        for keeper in keepers:
            task = asyncio.get_running_loop().create_task(keeper.stop(STOP_S))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
