"""What operators are told of models, upstreams, the build and processes, by metrics and titles."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving.models.export import save_files
from serving.telemetry.export.prometheus import prometheus_name
from serving.telemetry.metrics.declared import METRICS

pytestmark = pytest.mark.e2e

ENGINES = ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))]
GOOD = """
class Double:
    def predict(self, inputs):
        return {"y": inputs["x"] * 2}


def build():
    return Double()
"""
RAISES = """
def build():
    raise RuntimeError("no such licence")
"""
UNTOLD = "it tells nobody why an actor could not be made"
CRASHES = """
import os


def build():
    os._exit(3)
"""


def describe(name: str, root: Path, **more: Any) -> None:
    tensor = {"datatype": "FP32", "shape": [-1, 2]}
    settings = {
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}],
        "monitors": {"drift": None}, "explain": None, **more,
    }  # fmt: skip
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "model.yaml").write_text(yaml.safe_dump(settings))


def put(name: str, root: Path, version: int, code: str = GOOD) -> None:
    source = root.parent / "net.py"
    source.write_text(code)
    save_files(root / name / str(version), source)


Samples = list[tuple[str, dict[str, str], float]]


def samples(instance: Any) -> Samples:
    text = httpx.get(f"{instance.admin}/metrics", timeout=60).text
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def values(instance: Any, name: str, **labels: str) -> list[float]:
    return [
        value
        for found, has, value in samples(instance)
        if found == name and labels.items() <= has.items()
    ]


def order(instance: Any, what: str, model: str) -> httpx.Response:
    url = f"{instance.url}/v2/repository/models/{model}/{what}"
    return httpx.post(url, json={}, timeout=120)


@pytest.fixture(scope="module", params=ENGINES)
def instance(
    request: pytest.FixtureRequest,
    running: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("metrics") / "models"
    for name in ("steady", "changing", "leaving"):
        describe(name, root)
        put(name, root, 1)
    (root / "typo").mkdir()
    (root / "typo" / "model.yaml").write_text("format: none\n")
    workdir = tmp_path_factory.mktemp("workdir")
    with running(root, workdir, request.param) as instance:
        yield instance


def test_a_model_that_is_wanted_is_ready_or_not(instance: Any) -> None:
    assert values(instance, "vigil_model_ready", model="steady") == [1]
    ready = {"model": "steady", "version": "1", "wanted": "true"}
    assert values(instance, "vigil_model_ready", **ready) == [1]
    assert values(instance, "vigil_model_ready", model="typo") == [0]
    assert values(instance, "vigil_model_ready", model="typo", wanted="true") == [0]
    failures = {"model": "typo", "reason": "configuration"}
    assert values(instance, "vigil_model_load_failures_total", **failures) == [1]
    # From zero on, for every reason.
    none_yet = values(instance, "vigil_model_load_failures_total", model="steady")
    assert len(none_yet) > 3
    assert not any(none_yet)


def test_when_a_model_was_loaded_and_how_long_it_took(instance: Any, eventually: Any) -> None:
    name = "vigil_model_last_load_timestamp_seconds"
    (loaded,) = eventually("a report", lambda: values(instance, name, model="steady"))
    assert time.time() - 1000 < loaded < time.time()
    (took,) = values(instance, "vigil_model_last_load_duration_seconds", model="steady")
    assert 0 < took < 400


def test_what_runs(instance: Any) -> None:
    (info,) = [labels for name, labels, _ in samples(instance) if name == "vigil_build_info"]
    assert info["engine"] == instance.engine
    assert info["ingress"] == "direct"
    assert info["python"].startswith("3.11.")
    assert info["version"]


def test_every_process_tells_its_memory_and_time(instance: Any, eventually: Any) -> None:
    roles = {"gateway", "replica", "monitor"}
    roles |= {"supervisor", "zygote"} if instance.engine == "local" else {"admin"}

    def told() -> set[str]:
        found = samples(instance)
        return {labels["role"] for name, labels, _ in found if name == "process_open_fds"}

    eventually("all roles", lambda: told() == roles)
    found = samples(instance)
    for metric, least in {
        "process_resident_memory_bytes": 1 << 20,
        "process_cpu_seconds_total": 0.01,
        "process_open_fds": 3,
        "process_start_time_seconds": time.time() - 1000,
    }.items():
        rows = [(labels, value) for name, labels, value in found if name == metric]
        assert {labels["role"] for labels, _ in rows} == roles, metric
        assert all(value >= least for _, value in rows), (metric, rows)
        # One series is one process.
        assert len({labels["process"] for labels, _ in rows}) == len(rows)
        replicas = [labels for labels, _ in rows if labels["role"] == "replica"]
        assert {(labels["model"], labels["version"]) for labels in replicas} >= {("steady", "1")}
        assert all("model" not in labels for labels, _ in rows if labels["role"] == "gateway")
    (replica,) = [m for m in instance.members("replica") if m["model"] == "steady"]
    (memory,) = values(instance, "process_resident_memory_bytes", process=replica["id"])
    pages = int(Path(f"/proc/{replica['pid']}/statm").read_text().split()[1])
    assert memory == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)


def test_every_series_is_declared_with_its_labels(instance: Any) -> None:
    declared = {}
    for metric in METRICS.values():
        name = prometheus_name(metric.name, metric.kind, metric.unit)
        for suffix in ("", "_total", "_bucket", "_count", "_sum"):
            declared[name + suffix] = {*(each.replace(".", "_") for each in metric.labels), "le"}
    for name, labels, _ in samples(instance):
        assert labels.keys() <= declared[name], name


def test_a_new_version_takes_every_gauge_of_the_old_one_away(
    instance: Any, eventually: Any
) -> None:
    kinds = {prometheus_name(m.name, m.kind, m.unit): m.kind for m in METRICS.values()}

    def gauges(version: str) -> set[str]:
        about = {"model": "changing", "version": version}
        return {
            name
            for name, labels, _ in samples(instance)
            if about.items() <= labels.items() and kinds.get(name) == "gauge"
        }

    expected = {
        "vigil_model_ready", "vigil_replica_slots_total", "vigil_replica_slots_used",
        "vigil_queue_rows", "vigil_model_last_load_timestamp_seconds",
        "vigil_model_last_load_duration_seconds", "process_resident_memory_bytes",
        "process_open_fds", "process_start_time_seconds",
    }  # fmt: skip
    eventually("all gauges", lambda: gauges("1") == expected)
    assert "process_cpu_seconds_total" in {
        name for name, labels, _ in samples(instance) if labels.get("version") == "1"
    }
    put("changing", instance.models, 2)
    assert order(instance, "load", "changing").status_code == 200
    eventually("the new one's", lambda: gauges("2") == expected)
    eventually("the old one's end", lambda: not gauges("1"))
    processes = [
        labels for name, labels, _ in samples(instance)
        if name == "process_cpu_seconds_total" and labels.get("model") == "changing"
    ]  # fmt: skip
    assert [labels["version"] for labels in processes] == ["2"]
    assert values(instance, "vigil_model_ready", model="changing", wanted="true") == [1]


def test_what_is_unloaded_is_not_wanted(instance: Any, eventually: Any) -> None:
    assert values(instance, "vigil_model_ready", model="leaving") == [1]
    assert order(instance, "unload", "leaving").status_code == 200
    eventually("its end", lambda: not values(instance, "vigil_model_ready", model="leaving"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (RAISES, "load"),
        pytest.param(CRASHES, "crash", marks=pytest.mark.not_on("ray", reason=UNTOLD)),
        (GOOD, "signature"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_counted_and_wanted(
    instance: Any, eventually: Any, code: str, reason: str
) -> None:
    name = f"fails-{reason}"
    describe(name, instance.models)
    put(name, instance.models, 1)
    assert order(instance, "load", name).status_code == 200
    if reason == "signature":
        wide = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
        describe(name, instance.models, inputs=[wide])
    put(name, instance.models, 2, code)
    assert order(instance, "load", name).status_code >= 400
    counted = {"model": name, "reason": reason}
    eventually(
        "the count",
        lambda: values(instance, "vigil_model_load_failures_total", **counted)[0] >= 1,
    )
    others = {
        labels["reason"]: value
        for metric, labels, value in samples(instance)
        if metric == "vigil_model_load_failures_total" and labels["model"] == name
    }
    assert {kind for kind, value in others.items() if value} == {reason}, others
    assert values(instance, "vigil_model_ready", model=name, version="1", wanted="true") == [1]
    assert values(instance, "vigil_model_ready", model=name, version="2", wanted="true") == [0]


def test_a_server_behind_it_is_up_or_down(
    running: Callable[..., Any],
    watching: Callable[..., Any],
    eventually: Callable[..., Any],
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    describe("steady", models)
    put("steady", models, 1)
    for name in ("upstream", "watch"):
        (tmp_path / name).mkdir()
    with running(models, tmp_path / "upstream") as upstream:
        address = f"127.0.0.1:{upstream.http_port}"
        with watching(address, tmp_path / "watch") as watch:
            eventually("up", lambda: values(watch, "vigil_upstream_up", model="steady") == [1])
            (labels,) = [has for name, has, _ in samples(watch) if name == "vigil_upstream_up"]
            assert labels["upstream"] == f"http://{address}"
            upstream.process.terminate()
            upstream.process.wait(60)
            eventually("down", lambda: values(watch, "vigil_upstream_up", model="steady") == [0])
            ready = {"model": "steady", "wanted": "true"}
            eventually("not ready", lambda: values(watch, "vigil_model_ready", **ready) == [0])
            # Not reached is not: not loaded.
            failures = values(watch, "vigil_model_load_failures_total", model="steady")
            assert failures
            assert not any(failures)


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_titles_say_role_model_and_version(instance: Any, eventually: Any) -> None:
    eventually("the monitor", lambda: instance.members("monitor"))
    (steady,) = [m["pid"] for m in instance.members("replica") if m["model"] == "steady"]
    assert title(instance.process.pid) == "vigil: supervisor"
    if instance.engine == "ray":  # Ray names its actors itself, at every call
        assert title(steady).startswith("ray::ServeReplica:vigil-replica-steady-1-")
        return
    assert title(steady) == "vigil: replica steady v1"
    assert parent(steady) == instance.process.pid
    (monitor,) = instance.members("monitor")
    assert title(monitor["pid"]) == "vigil: monitor"
    (gateway,) = instance.members("gateway")
    assert title(gateway["pid"]) == "vigil: gateway 0"
    # What `top` shows.
    assert Path(f"/proc/{steady}/comm").read_text().strip() == "vigil: replica"[:15]
