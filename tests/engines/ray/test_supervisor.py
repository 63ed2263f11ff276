"""The driver of the ray engine: what it tells actors, and how long it waits before a drain."""

from __future__ import annotations

import math
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.channel.messages.directory import Inventory, ServedModel
from serving.config import ServerConfig

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import supervisor as ray_supervisor
    from serving.engines.stop_order import StopOrder

pytestmark = pytest.mark.ray

MODEL = ServedModel("lab", "1", b"{}", "/models/lab/1")


def test_roles_of_one_machine_use_sockets(tmp_path: Path) -> None:
    instance = ray_supervisor.make_instance(ServerConfig(), [MODEL], tmp_path)
    assert instance.registry_address == f"unix:{tmp_path}/registry.sock"
    assert instance.secret is None
    assert instance.address("abc", "192.0.2.1") == f"unix:{tmp_path}/abc.sock"
    assert instance.runtime_dir() == tmp_path


def test_roles_of_a_cluster_use_tcp_and_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_supervisor, "head_address", lambda: "192.0.2.1")
    config = ServerConfig(ray_address="192.0.2.1:6379")
    instance = ray_supervisor.make_instance(config, [MODEL], tmp_path)
    assert instance.registry_address == "tcp:192.0.2.1:8003"
    assert instance.secret is not None
    assert len(instance.secret) == 32
    assert instance.address("abc", "192.0.2.2") == "tcp:192.0.2.2:0"


class Answer:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout_s: float) -> Any:
        return self.value


class ReadyAdmin:
    """An admin actor that is ready until it leaves."""

    def __init__(self, ready: bool) -> None:
        self.is_ready = ready
        self.ready = self.leave = self
        self.asked = 0

    def remote(self) -> Answer:
        self.asked += 1
        return Answer((self.is_ready, []))


def supervisor(delay_s: float) -> ray_supervisor.RayEngine:
    config = ServerConfig(drain_delay_s=delay_s)
    instance = SimpleNamespace(config=config, inventory=Inventory((), ()))
    stop = StopOrder(threading.Event(), threading.Event())
    return ray_supervisor.RayEngine(instance, lambda _listen: None, stop)  # type: ignore[arg-type]


def test_the_delay_counts_although_the_driver_has_not_seen_the_instance_ready() -> None:
    engine, admin = supervisor(60), ReadyAdmin(ready=True)
    assert engine._left(admin) == math.inf
    engine._stop.give()
    assert 59 < engine._left(admin) <= 60
    admin.is_ready = False  # it leaves, which shortens nothing
    assert 59 < engine._left(admin) <= 60
    assert admin.asked == 1
    engine._stop.give()
    assert engine._left(admin) == 0


def test_there_is_no_delay_where_nobody_was_sent() -> None:
    engine, admin = supervisor(60), ReadyAdmin(ready=False)
    engine._stop.give()
    assert engine._left(admin) == 0
    admin.is_ready = True
    assert engine._left(admin) == 0


def test_actors_find_the_models_from_any_working_folder(tmp_path: Path) -> None:
    config = ServerConfig(models=Path("models"))
    instance = ray_supervisor.make_instance(config, Inventory(), tmp_path)
    assert instance.config.models == Path.cwd() / "models"


@pytest.mark.parametrize(("json", "form"), [(True, "json"), (False, "text")])
def test_actors_of_a_local_ray_log_in_the_form_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, json: bool, form: str
) -> None:
    monkeypatch.setattr(ray_supervisor, "writes_json", lambda: json)
    instance = ray_supervisor.make_instance(ServerConfig(), Inventory(), tmp_path)
    assert instance.config.telemetry.log_format == form


def test_each_cluster_has_a_secret_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_supervisor, "head_address", lambda: "192.0.2.1")
    config = ServerConfig(ray_address="192.0.2.1:6379")
    made = [ray_supervisor.make_instance(config, Inventory(), tmp_path) for _ in range(2)]
    assert made[0].secret != made[1].secret
    assert made[0].runtime is None
