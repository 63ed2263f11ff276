"""Which Ray is used; none is started."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from serving.config import ConfigError, Listen, ServerConfig

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import cluster
    from serving.engines.ray.cluster import connected, head_address, head_only, in_short
    from serving.engines.ray.keeper import StartsTooSlowly

pytestmark = pytest.mark.ray

HEAD = "node:__internal_head__"


class Ray:
    """Writes down how it is connected to."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.inits: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.shutdowns = 0
        self.known: list[dict[str, Any]] = []

    def init(self, *arguments: Any, **more: Any) -> None:
        self.inits.append((arguments, more))
        if self.fails:
            raise self.fails

    def shutdown(self) -> None:
        self.shutdowns += 1

    def nodes(self) -> list[dict[str, Any]]:
        return self.known


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    made = Ray()
    monkeypatch.setattr(cluster, "ray", made)
    return made


def test_object_store_is_larger_when_bodies_travel_through_it() -> None:
    listen = Listen(max_body_mib=64)
    small = cluster.object_store_bytes(ServerConfig(listen=listen))
    large = cluster.object_store_bytes(ServerConfig(listen=listen, ingress="serve"))
    assert small == 128 << 20
    assert large == 512 << 20


@pytest.mark.parametrize(
    ("ingress", "body", "mib"),
    [("direct", 1, 128), ("direct", 129, 129), ("serve", 16, 128), ("serve", 17, 136)],
)
def test_an_object_store_has_a_least_size(ingress: Any, body: int, mib: int) -> None:
    config = ServerConfig(listen=Listen(max_body_mib=body), ingress=ingress)
    assert cluster.object_store_bytes(config) == mib << 20


def test_a_ray_of_its_own_is_never_one_that_the_environment_names(ray: Ray, tmp_path: Path) -> None:
    with connected(ServerConfig(), tmp_path):
        assert ray.shutdowns == 0
    assert ray.inits == [
        (
            ("local",),
            {
                "namespace": "vigil",
                "include_dashboard": False,
                "object_store_memory": 128 << 20,
                "logging_level": logging.ERROR,
                "_temp_dir": f"{tmp_path}/ray",
            },
        )
    ]
    assert ray.shutdowns == 1


def test_a_cluster_is_joined_at_its_address(ray: Ray, tmp_path: Path) -> None:
    with connected(ServerConfig(ray_address="10.0.0.1:6379"), tmp_path):
        pass
    assert ray.inits == [(("10.0.0.1:6379",), {"namespace": "vigil", "log_to_driver": False})]
    assert ray.shutdowns == 1


def test_it_is_left_whatever_happens_meanwhile(ray: Ray, tmp_path: Path) -> None:
    with pytest.raises(KeyError), connected(ServerConfig(), tmp_path):
        raise KeyError
    assert ray.shutdowns == 1


@pytest.mark.parametrize("kind", [ConnectionError, ValueError, RuntimeError])
def test_a_cluster_that_does_not_answer(ray: Ray, tmp_path: Path, kind: Any) -> None:
    ray.fails = kind("no such\n  cluster.\n")
    config = ServerConfig(ray_address="10.0.0.1:6379")
    with pytest.raises(ConfigError) as told, connected(config, tmp_path):
        pytest.fail("not connected")
    assert told.value.message == "ray_address 10.0.0.1:6379: no such cluster"
    assert ray.shutdowns == 0


@pytest.mark.parametrize("kind", [Exception, TimeoutError, OSError])
@pytest.mark.parametrize(("said", "raised"), [("timed out", StartsTooSlowly), ("no", ConfigError)])
def test_a_machine_that_is_too_busy(
    ray: Ray, tmp_path: Path, kind: Any, said: str, raised: Any
) -> None:
    ray.fails = kind(said)
    with pytest.raises(ConfigError) as told, connected(ServerConfig(), tmp_path):
        pytest.fail("not connected")
    assert told.value.message == (
        f"Ray does not start on this machine: {said}; try again when it is less busy, "
        "or use --engine local"
    )
    assert type(told.value) is raised


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", ""),
        (" a\n\tb. ", "a b"),
        ("a...", "a"),
        ("x" * 400, "x" * 300),
        ("x" * 299 + ". y", "x" * 299),
    ],
)
def test_an_error_in_short(said: str, told: str) -> None:
    assert in_short(ValueError(said)) == told


def node(address: str, *resources: str, alive: bool = True) -> dict[str, Any]:
    return {
        "Alive": alive,
        "Resources": dict.fromkeys(resources, 1.0),
        "NodeManagerAddress": address,
    }


def test_the_head_is_the_living_node_that_says_so(ray: Ray) -> None:
    ray.known = [
        node("10.0.0.1", "CPU"),
        node("10.0.0.2", "CPU", HEAD, alive=False),
        node("10.0.0.3", HEAD),
    ]
    assert head_address() == "10.0.0.3"
    assert set(head_only()) == {HEAD}
    assert 0 < head_only()[HEAD] <= 0.001  # many actors fit there


@pytest.mark.parametrize("known", [[], [node("a", "CPU")], [node("a", HEAD, alive=False)]])
def test_a_cluster_without_a_head(ray: Ray, known: list[dict[str, Any]]) -> None:
    ray.known = known
    with pytest.raises(ConfigError, match="no living head node"):
        head_address()
