"""Runs sections: a few servers up together, loads on one of them at a time, in interleaved rounds.

A section is A B C A' A B C A' ... for each load, where A' measures A once more: how far that
ratio is from 1 is how far any other may be from the truth.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.contenders import Contender
from loadtest.load import Load, Measurement, measure
from loadtest.process import Server, ServerError, cpu_seconds
from loadtest.ratios import CONTROL, Sample

Step = Callable[[str], None]

MAIN_ONLY = ("vigil-local-on", "vigil-local-interpreted", "mosec")
"""Who is raced in the main section only, and not beside those with Ray."""


@dataclass(frozen=True, slots=True)
class Section:
    """Contenders that are up together, and the loads they get."""

    name: str
    contenders: tuple[Contender, ...]
    loads: tuple[Load, ...]

    def steps(self, rounds: int) -> int:
        """How many measurements the section takes."""
        return sum(rounds * len(self.entries(load)) for load in self.loads)

    def entries(self, load: Load) -> list[tuple[str, Contender]]:
        """Who is measured under `load`, in order, as (key, contender); the control is last."""
        able = [c for c in self.contenders if load.protocol in c.protocols]
        if not able:
            return []
        return [*((c.key, c) for c in able), (CONTROL, able[0])]


@dataclass(frozen=True, slots=True)
class SectionResult:
    """Samples; the processor share each idle server used; and who could not be raced, why."""

    samples: list[Sample]
    idle_cpu: dict[str, float]
    absent: dict[str, str]


def run_section(
    section: Section, home: Path, rounds: int, seconds: float, step: Step
) -> SectionResult:
    """Start everybody, race them, and stop everybody whatever happens."""
    servers: dict[str, Server] = {}
    absent: dict[str, str] = {}
    samples: list[Sample] = []
    with contextlib.ExitStack() as stack:
        for contender in section.contenders:
            step(f"starting {contender.label}")
            try:
                servers[contender.key] = contender.start(home)
            except (ServerError, OSError) as error:
                absent[contender.key] = str(error)
                continue
            stack.callback(_stop, servers, contender.key)
        present = replace(
            section, contenders=tuple(c for c in section.contenders if c.key in servers)
        )
        idle = _idle_cpu(servers)
        for load in present.loads:
            for number in range(rounds):
                for key, contender in present.entries(load):
                    step(f"{load.name}, round {number + 1}/{rounds}: {contender.label}")
                    measured = _measure(servers, contender, load, seconds, home)
                    samples.append(Sample(section.name, load.name, number, key, measured))
    return SectionResult(samples, idle, absent)


def _stop(servers: dict[str, Server], key: str) -> None:
    # Looked up at the end: a server that died under load was replaced by another.
    servers[key].stop()


def _measure(
    servers: dict[str, Server], contender: Contender, load: Load, seconds: float, home: Path
) -> Measurement:
    measured = measure(servers[contender.key], load, seconds)
    if servers[contender.key].alive():
        return measured
    # It died under the load: the round is void, and the next one gets a new server.
    servers[contender.key].stop()
    code = servers[contender.key].process.returncode
    problems = (*measured.problems, f"the server ended with {code}")
    with contextlib.suppress(ServerError):  # the next round will say that it is not there
        servers[contender.key] = contender.start(home)
    return replace(measured, problems=problems)


def _idle_cpu(servers: dict[str, Server], seconds: float = 2) -> dict[str, float]:
    time.sleep(0.5)
    before = {key: cpu_seconds(server.process.pid) for key, server in servers.items()}
    time.sleep(seconds)
    return {
        key: round((cpu_seconds(server.process.pid) - before[key]) / seconds, 3)
        for key, server in servers.items()
    }


def sections(
    chosen: Sequence[Contender], loads: Sequence[Load], ray_loads: Sequence[Load]
) -> list[Section]:
    """Split `chosen`: those without Ray together; each with Ray alone beside a few of those.

    Ray's daemons are never quite idle, so no two of them are up at once, and the ones raced
    beside them (both Tritons and Vigil's local engine) suffer the same daemons.
    """
    light = tuple(c for c in chosen if not c.ray)
    found = [Section("main", light, tuple(loads))] if light else []
    beside = tuple(c for c in light if c.key not in MAIN_ONLY)
    for contender in (c for c in chosen if c.ray):
        able = tuple(load for load in ray_loads if load.protocol in contender.protocols)
        found.append(Section(contender.key, (*beside, contender), able))
    return found
