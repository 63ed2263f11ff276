"""The process that starts replicas is lost: those that are there go on, and it is replaced."""

import concurrent.futures
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.e2e

ROW = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}


def children(pid: int) -> dict[int, str]:
    """Return the children of a process and their titles."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found[int(folder.name)] = title
    return found


def zygotes(instance: Any) -> list[int]:
    return [p for p, title in children(instance.process.pid).items() if title == "vigil: zygote"]


def replicas(instance: Any) -> set[int]:
    return {m["pid"] for m in instance.members("replica") if m["model"] == "lab"}


def test_a_lost_zygote_costs_no_request_and_is_replaced(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    models = make_lab(replicas=2, of_torch=True)
    with running(models, tmp_path) as instance:
        eventually("both replicas", lambda: instance.linked("lab", 2))
        before = replicas(instance)
        assert len(before) == 2
        stop, wrong, counts = threading.Event(), [], [0] * 4

        def client(number: int) -> None:
            while not stop.wait(0.02):
                answer = instance.infer("lab", [ROW])
                counts[number] += 1
                if answer.status_code != 200:
                    wrong.append(answer.text)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(client, number) for number in range(4)]
            try:
                (zygote,) = eventually("the zygote", lambda: zygotes(instance))
                os.kill(zygote, signal.SIGKILL)
                (second,) = eventually(
                    "another zygote",
                    lambda: [pid for pid in zygotes(instance) if pid != zygote],
                )
                assert replicas(instance) == before
                # Again, before it can be ready: orders wait for the third.
                os.kill(second, signal.SIGKILL)
                victim = min(before)
                os.kill(victim, signal.SIGKILL)
                eventually(
                    "a replacement",
                    lambda: len(replicas(instance)) == 2 and victim not in replicas(instance),
                )
                assert len(replicas(instance) & before) == 1
                shutil.copytree(models / "lab", models / "late")
                load = f"{instance.url}/v2/repository/models/late/load"
                answer = httpx.post(load, timeout=120)
                assert answer.status_code == 200, answer.text
                assert instance.infer("late", [ROW]).status_code == 200
                seen = sum(counts)
                eventually("more load", lambda: sum(counts) > seen + 20)
            finally:
                stop.set()
            for task in tasks:
                task.result()
        assert not wrong, wrong[:3]
        assert "the zygote ended and is started again" in instance.log.read_text()
        assert instance.metric("process_resident_memory_bytes", role="zygote") > 0
        below = children(instance.process.pid)
        instance.process.send_signal(signal.SIGTERM)
        assert instance.process.wait(60) == 0, instance.log.read_text()
        assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


@pytest.mark.long
def test_what_a_lost_zygote_has_made_ends_with_the_supervisor(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    with running(make_lab(), tmp_path) as instance:
        (zygote,) = zygotes(instance)
        os.kill(zygote, signal.SIGKILL)
        eventually("another zygote", lambda: [pid for pid in zygotes(instance) if pid != zygote])
        below = children(instance.process.pid)
        assert replicas(instance) < set(below)
        instance.process.kill()
        instance.process.wait(60)
        eventually(
            "every process is gone",
            lambda: not [pid for pid in below if Path(f"/proc/{pid}/cmdline").exists()],
        )
