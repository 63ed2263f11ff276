"""The driver of the ray engine: what it tells actors, and how long it waits before a drain."""

from __future__ import annotations

import math
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from serving.channel.messages.directory import Inventory, ServedModel
from serving.config import ConfigError, Listen, ServerConfig

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import deployments
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


# -- what is deployed, watched and taken down -----------------------------------------------------


class Serve:
    """Serve without Ray: what is deployed is written down, and runs at once."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Any]] = []
        self.running: dict[str, Any] = {}
        self.stuck: set[str] = set()
        """Applications that do not end."""
        self.fails: set[str] = set()
        self.no_start: Exception | None = None

    def start(self, **how: Any) -> None:
        self.steps.append(("start", how))
        if self.no_start:
            raise self.no_start

    def run_many(self, targets: list[Any], wait_for_applications_running: bool) -> None:
        assert not wait_for_applications_running  # or a model that cannot be loaded blocks the rest
        self.steps.append(("run", [target.name for target in targets]))
        self.running |= {target.name: target for target in targets}

    def delete(self, app: str, _blocking: bool) -> None:
        assert not _blocking
        self.steps.append(("delete", app))
        if app not in self.stuck:
            self.running.pop(app, None)

    def status(self) -> Any:
        bad = ray_supervisor.ApplicationStatus.DEPLOY_FAILED
        states = {
            app: SimpleNamespace(status=bad if app in self.fails else "") for app in self.running
        }
        return SimpleNamespace(applications=states)

    def of(self, kind: str) -> list[Any]:
        return [what for step, what in self.steps if step == kind]


class Admin:
    """The admin actor: `answers` are what must be deployed, one after the other."""

    def __init__(self, stop: StopOrder[threading.Event]) -> None:
        self.stop = stop
        self.answers: list[Any] = []
        self.is_ready = self.is_started = True
        self.calls: list[str] = []
        self.seen: list[int] = []
        self.deaf: set[str] = set()
        self.at_the_end: Any = stop.give

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: self._called(name, given))

    def _called(self, name: str, given: Any) -> Any:
        self.calls.append(name)
        return SimpleNamespace(result=lambda timeout_s: self._answer(name, given))

    def _answer(self, name: str, given: Any) -> Any:
        if name in self.deaf:
            raise TimeoutError
        if name == "ready":
            return self.is_ready, []
        if name == "started":
            return self.is_started
        if name != "wanted":
            return None
        known, _hold_s = given
        self.seen.append(known.number)
        if not self.answers:
            self.at_the_end()
            return known
        return self.answers.pop(0)


@pytest.fixture
def ray_serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    made = Serve()
    for name in ("start", "run_many", "delete", "status"):
        monkeypatch.setattr(ray_supervisor.serve, name, getattr(made, name))
    monkeypatch.setattr(ray_supervisor, "POLL_S", 0.001)
    monkeypatch.setattr(ray_supervisor, "FORCE_S", 0.01)
    return made


class Driver:
    """An engine with its admin actor, and what it tells."""

    def __init__(self, serve: Serve, folder: Path, inventory: Inventory, **config: Any) -> None:
        server = ServerConfig(**{"models": folder, "data_dir": folder, **config})
        server = server.model_copy(update={"drain_timeout_s": 0.01})
        instance = ray_supervisor.make_instance(server, inventory, folder)
        self.stop = StopOrder(threading.Event(), threading.Event())
        self.admin = Admin(self.stop)
        self.ready: list[Any] = []
        self.orders: list[Any] = []
        self.serve = serve
        self.engine = ray_supervisor.RayEngine(
            instance, self.ready.append, self.stop, self.orders.append
        )


@pytest.fixture
def drive(ray_serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*models: ServedModel, **config: Any) -> Driver:
        made = Driver(ray_serve, tmp_path, Inventory(models), **config)
        monkeypatch.setattr(ray_supervisor.serve, "get_app_handle", lambda _app: made.admin)
        return made

    return make


def version(served: ServedModel, number: str) -> ServedModel:
    return msgspec.structs.replace(served, version=number, revision=f"r{number}")


def test_all_of_the_start_is_deployed_at_once_and_the_monitor_after_it(
    drive: Any, served: ServedModel, ray_serve: Serve
) -> None:
    driver = drive(version(served, "1"))
    assert driver.engine.run()
    assert ray_serve.steps[0][0] == "start"
    first, helped = ray_serve.of("run")
    assert first == ["vigil-admin", "vigil-replica-m-1-r1", "vigil"]
    assert helped == ["vigil-monitor"]
    assert driver.ready == [driver.engine._config.listen]  # once
    assert driver.orders == []  # nothing that was not known


def test_each_monitor_is_an_application(drive: Any, served: ServedModel, ray_serve: Serve) -> None:
    drive(version(served, "1"), monitors=2).engine.run()
    assert ray_serve.of("run")[-1] == ["vigil-monitor-0", "vigil-monitor-1"]
    assert {"vigil-monitor-0", "vigil-monitor-1"} <= set(ray_serve.of("delete"))


@pytest.mark.parametrize("ingress", ["serve", "direct", "envoy"])
def test_serves_own_proxy_gets_the_ports_where_it_is_the_ingress(
    drive: Any, ray_serve: Serve, ingress: str
) -> None:
    listen = Listen(host="127.0.0.1", http_port=18000, grpc_port=18001)
    drive(ingress=ingress, listen=listen).engine.run()
    (how,) = ray_serve.of("start")
    http, grpc = how["http_options"], how["grpc_options"]
    assert http.host == "127.0.0.1"
    assert (http.port == 18000) is (grpc.port == 18001) is (ingress == "serve")
    assert bool(grpc.grpc_servicer_functions) is (ingress == "serve")
    assert how["proxy_location"] == ray_supervisor.ProxyLocation.HeadOnly


@pytest.mark.parametrize("error", [ray_supervisor.RayError("x\n y."), TimeoutError("x y")])
def test_serve_that_does_not_start_is_one_sentence(
    drive: Any, ray_serve: Serve, error: Exception
) -> None:
    ray_serve.no_start = error
    with pytest.raises(ConfigError) as told:
        drive().engine.run()
    assert told.value.message == (
        "Ray Serve does not start: x y; try again when the machine is less busy, or use --engine "
        "local"
    )
    assert ray_serve.of("run") == []


def test_only_the_gateway_is_reached_through_serve(
    drive: Any, served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes: dict[str, Any] = {}
    run = ray_supervisor.serve.run_many

    def looking(targets: list[Any], **how: Any) -> None:
        prefixes.update({target.name: target.route_prefix for target in targets})
        run(targets, **how)

    monkeypatch.setattr(ray_supervisor.serve, "run_many", looking)
    drive(served).engine.run()
    assert prefixes.pop("vigil") == "/"
    assert set(prefixes.values()) == {None}


def test_an_order_deploys_what_is_missing_and_deletes_what_is_not_wanted(
    drive: Any, served: ServedModel, ray_serve: Serve
) -> None:
    one, two, three = (version(served, number) for number in "123")
    driver = drive(one)
    driver.admin.answers = [
        deployments.Order(1, (one,), (two,)),
        deployments.Order(1, (one,), (two,)),  # known already
        deployments.Order(2, (two,), (), (two.key, three.key)),
        deployments.Order(3, (three,)),
    ]
    driver.engine.run()
    assert [order.number for order in driver.orders] == [1, 2, 3]
    assert driver.admin.seen[:4] == [0, 1, 1, 2]
    ran = [names for names in ray_serve.of("run") if "vigil-monitor" not in names]
    assert ran[1:] == [
        ["vigil-replica-m-2-r2"],
        ["vigil-explainer-m-2-r2"],  # nobody explains what has no replicas
        ["vigil-replica-m-3-r3"],
    ]
    before_the_end = ray_serve.of("delete")[:3]
    assert before_the_end[0] == "vigil-replica-m-1-r1"
    assert set(before_the_end[1:]) == {"vigil-replica-m-2-r2", "vigil-explainer-m-2-r2"}


def test_what_cannot_be_deployed_is_told_once_and_again_when_it_comes_back(
    drive: Any, served: ServedModel, ray_serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = version(served, "1"), version(served, "2")
    driver = drive(one)
    ray_serve.fails = {"vigil-replica-m-1-r1"}
    only_two = deployments.Order(1, (two,))
    driver.admin.answers = [
        deployments.Order(), deployments.Order(), only_two, deployments.Order(2, (one,)),
        deployments.Order(2, (one,)),
    ]  # fmt: skip
    driver.engine.run()
    assert caplog.messages == ["vigil-replica-m-1-r1 does not start"] * 2


@pytest.mark.parametrize(("ready", "started"), [(False, True), (False, False), (True, False)])
def test_the_monitor_waits_for_models_that_answer_or_have_failed(
    drive: Any, ray_serve: Serve, ready: bool, started: bool
) -> None:
    driver = drive()
    driver.admin.is_ready, driver.admin.is_started = ready, started
    driver.engine.run()
    assert (["vigil-monitor"] in ray_serve.of("run")) is (ready or started)
    assert bool(driver.ready) is ready


@pytest.mark.parametrize("call", ["wanted", "ready", "started", "drain"])
def test_an_admin_actor_that_does_not_answer_is_asked_again(
    drive: Any, ray_serve: Serve, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    driver = drive()
    driver.admin.deaf = {call}
    asked: list[None] = []

    def status() -> Any:
        asked.append(None)
        if len(asked) == 3:
            driver.stop.give()
        return Serve.status(ray_serve)

    monkeypatch.setattr(ray_supervisor.serve, "status", status)
    driver.engine.run()
    assert len(asked) >= 3
    assert "vigil-admin" in ray_serve.of("delete")


def test_gateways_end_first_and_then_what_they_needed(
    drive: Any, served: ServedModel, ray_serve: Serve
) -> None:
    driver = drive(version(served, "1"))
    ray_serve.running["another"] = None  # somebody else's, in the same cluster
    ray_serve.running["vigilant"] = None
    assert driver.engine.run()
    assert driver.admin.calls[-1] == "drain"
    first, *others = ray_serve.of("delete")
    assert first == "vigil"
    assert set(others) == {"vigil-admin", "vigil-replica-m-1-r1", "vigil-monitor"}
    assert set(ray_serve.running) == {"another", "vigilant"}


@pytest.mark.parametrize("stuck", ["vigil", "vigil-replica-m-1-r1"])
def test_what_does_not_end_is_not_called_drained(
    drive: Any, served: ServedModel, ray_serve: Serve, stuck: str
) -> None:
    driver = drive(version(served, "1"))
    ray_serve.stuck = {stuck}
    assert driver.engine.run() is False
    assert "vigil-admin" in ray_serve.of("delete")  # the rest ends all the same


def test_all_is_taken_down_where_watching_fails(drive: Any, ray_serve: Serve) -> None:
    driver = drive()

    def breaks() -> None:
        raise KeyError("odd")

    driver.admin.at_the_end = breaks
    with pytest.raises(KeyError):
        driver.engine.run()
    assert ray_serve.of("delete")[0] == "vigil"
    assert ray_serve.running == {}


# -- leaving before the drain ---------------------------------------------------------------------


@pytest.mark.parametrize("deaf", [False, True])
def test_a_stop_with_a_delay_is_told_to_the_gateways_first(
    drive: Any, ray_serve: Serve, caplog: pytest.LogCaptureFixture, deaf: bool
) -> None:
    caplog.set_level("INFO", "vigil")
    driver = drive(drain_delay_s=60)
    driver.admin.deaf = {"leave"} if deaf else set()
    told = threading.Event()
    driver.admin.at_the_end = lambda: driver.stop.asked.is_set() or driver.stop.give()

    def hurry() -> None:
        while len(caplog.messages) < 1 + deaf or "leave" not in driver.admin.calls:
            told.wait(0.001)
        driver.stop.give()  # a second signal

    hurrying = threading.Thread(target=hurry, daemon=True)
    hurrying.start()
    driver.engine.run()
    hurrying.join()
    assert driver.admin.calls.index("leave") < driver.admin.calls.index("drain")
    assert caplog.messages[0].startswith("not ready from now on; the drain begins after")
    last = ["the gateways may not have heard that a stop is near"] if deaf else []
    assert caplog.messages[1:] == last


@pytest.mark.parametrize("delay_s", [0, 60])
def test_nobody_is_told_of_a_stop_where_there_is_no_delay(drive: Any, delay_s: float) -> None:
    driver = drive(drain_delay_s=delay_s)
    driver.admin.is_ready = False  # nobody was sent here, so a delay is for nothing
    driver.engine.run()
    assert "leave" not in driver.admin.calls
    assert driver.admin.calls[-1] == "drain"
