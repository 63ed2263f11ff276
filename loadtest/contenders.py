"""The list of everybody who can be raced, and what each of them speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from loadtest import compiled, vigil
from loadtest.peers import mosecserver, rayserve, triton
from loadtest.process import Server
from loadtest.verify import Protocol

_ALL: frozenset[Protocol] = frozenset({"json", "binary", "grpc", "image"})


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody to race. `key` is for options and files, `label` for people.

    `ray`: it brings a Ray of its own, whose daemons use the processor even when idle, so it is
    raced in a section of its own.
    """

    key: str
    label: str
    protocols: frozenset[Protocol]
    start: Callable[[Path], Server]
    ray: bool = False


def _vigil(key: str, variant: vigil.Variant, *, interpreted: bool = False) -> Contender:
    variant = replace(variant, compiled=not interpreted)
    start = partial(vigil.start, variant=variant)
    return Contender(key, variant.name, _ALL, start, ray=variant.engine == "ray")


def _triton(key: str, setting: str) -> Contender:
    return Contender(key, f"triton, {setting}", _ALL, partial(triton.start, setting=setting))


def _ray_serve(key: str, mode: str) -> Contender:
    start = partial(rayserve.start, mode=mode)
    return Contender(key, f"ray serve, {mode}", frozenset({"json"}), start, ray=True)


TRITON = ("triton-eager", "triton-delay")
"""Triton's two settings; ratios are to the better of them, chosen for each load."""

CONTENDERS: tuple[Contender, ...] = (
    _triton("triton-eager", "no delay"),
    _triton("triton-delay", "1 ms delay"),
    Contender("mosec", "mosec (no OIP), 1 ms wait", frozenset({"json"}), mosecserver.start),
    _vigil("vigil-local-off", vigil.Variant("local", checks=False)),
    _vigil("vigil-local-on", vigil.Variant("local", checks=True)),
    _vigil("vigil-local-interpreted", vigil.Variant("local", checks=True), interpreted=True),
    _vigil("vigil-local-asleep", vigil.Variant("local", checks=False, asleep=True)),
    _vigil("vigil-local-envoy", vigil.Variant("local", checks=False, ingress="envoy")),
    _vigil("vigil-ray-off", vigil.Variant("ray", checks=False)),
    _vigil("vigil-ray-on", vigil.Variant("ray", checks=True)),
    _vigil("vigil-ray-serve", vigil.Variant("ray", checks=False, ingress="serve")),
    _vigil("vigil-ray-handle", vigil.Variant("ray", False, "serve", "handle")),
    _ray_serve("rayserve-default", "default"),
    _ray_serve("rayserve-throughput", "throughput"),
    _ray_serve("rayserve-haproxy", "haproxy"),
    _ray_serve("rayserve-haproxy-throughput", "haproxy+throughput"),
)


def prepare(home: Path, chosen: list[Contender]) -> None:
    """Install and build what the `chosen` need, so that no start pays for it."""
    if any(contender.key in TRITON for contender in chosen):
        triton.install(home)
    if any(contender.key == "mosec" for contender in chosen):
        mosecserver.install(home)
    if any(contender.key.startswith("vigil") for contender in chosen):
        vigil.prepare(home)
        compiled.build(home)
