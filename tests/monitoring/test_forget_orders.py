"""Forgetting a subject in a monitor that runs: with its writer, and while rows come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from monitors.performance.prediction_entries import Entry, sorted_out
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    LABELS,
    ForgetMeta,
    ForgetReply,
    Label,
    LabelCounts,
    LabelsMeta,
    RequestColumns,
)
from serving.config import Log, ModelConfig, ModelLog
from serving.config.encoded import encode_config
from serving.control.forget_order import forget
from serving.dataplane.hooks.event_batches import EventBatch, EventKey, LogColumns
from serving.dataplane.hooks.record_ids import new_record_id
from serving.errors import InvalidInput, ModelNotReady, NotFound, Overloaded, VigilError
from serving.log import forget_running
from serving.log.place import place_of
from serving.log.reader import LogReader
from serving.log.store import Store
from serving.log.subject import Subject
from serving.monitoring import forget_job
from serving.monitoring.forgetting import requests_of
from serving.monitoring.persistence import Persistence
from serving.monitoring.role import MonitorRole

Wait = Callable[[Callable[[], object]], Awaitable[None]]
LOG = Log()
ORDER = ForgetMeta("order-1", "subject-7")
ALL = {"predictions": 2, "sensitive": 2, "labels": 1}


@pytest.fixture
def served(served: ServedModel, tabular_config: ModelConfig) -> ServedModel:
    """The version of these tests, as it is when it is logged."""
    logged = tabular_config.model_copy(update={"log": ModelLog(capture="full", sample=1)})
    return ServedModel(served.name, served.version, encode_config(logged), served.directory)


def role_in(tmp_path: Path) -> MonitorRole:
    return MonitorRole(
        f"unix:{tmp_path}/registry.sock", f"unix:{tmp_path}/monitor.sock", tmp_path / "data",
        checkpoint_s=60, log=LOG,
    )  # fmt: skip


@pytest.fixture
async def monitor(tmp_path: Path, registry: Any) -> AsyncIterator[MonitorRole]:
    role = role_in(tmp_path)
    await role.start()
    yield role
    await role.stop()


class Site:
    """A monitor with rows of `subject-7` among others', and labels of some."""

    def __init__(
        self, monitor: MonitorRole, gateway: Any, tabular: Any, registry: Any, eventually: Wait
    ) -> None:
        self.monitor, self.gateway, self.tabular = monitor, gateway, tabular
        self.registry, self.eventually = registry, eventually
        assert monitor._log is not None
        self.log = monitor._log
        self.data_dir = monitor._forget._data_dir

    async def publish(self, *idents: str, principal: str = "someone") -> None:
        rows, before = len(idents), self.log._writer.counts().stored
        requests = RequestColumns(list(range(rows)), [0.1] * rows, [0.2] * rows)
        named = {at: principal for at, each in enumerate(idents) if each.startswith("subject")}
        requests = msgspec.structs.replace(requests, principals=named)
        await self.eventually(lambda: self.gateway.publisher.connected)
        self.gateway.publisher.publish(
            EventKey("loans", "1", "r"),
            EventBatch(
                1_796_040_000.0,
                list(idents),
                [1] * rows,
                self.tabular.inputs(rows),
                self.tabular.outputs(np.ones(rows, bool)),
                {"sex": np.array(["F"] * rows, object)},
                LogColumns(new_record_id(), 1000, 0, requests),
            ),
        )
        self.gateway.publisher.flush()
        await self.eventually(lambda: self.log._writer.counts().stored == before + rows)

    async def label(self, *idents: str) -> LabelCounts:
        pushed = LabelsMeta("loans", [Label(ident, 0, "yes") for ident in idents])
        answer = await self.gateway.publisher.request(LABELS, pushed, model="loans")
        return msgspec.msgpack.decode(answer.meta, type=LabelCounts)

    async def forget(self, asked: ForgetMeta = ORDER) -> ForgetReply:
        while True:
            reply = await forget(self.registry, asked)
            if reply.finished:
                return reply
            await asyncio.sleep(0.01)

    async def clients(self) -> list[str]:
        place = place_of(LOG, self.data_dir)
        reader = LogReader(place.store(), place.spool)
        table = await asyncio.to_thread(lambda: reader.scan("loans").read_all())
        return sorted(table["client_id"].to_pylist())

    def holding(self, text: bytes = b"subject-7") -> list[str]:
        """Which files have a text."""
        files = (path for path in self.data_dir.rglob("*") if path.is_file())
        return sorted(path.name for path in files if text in path.read_bytes())

    @property
    def truth(self) -> Any:
        (watch,) = self.monitor.service.watches
        return watch._truth

    def entries(self) -> set[str]:
        return idents(self.truth.entries())

    def recent(self) -> int:
        (watch,) = self.monitor.service.watches
        return len(watch.recent()["income"])


def idents(entries: Iterable[Entry]) -> set[str]:
    """Return the ids of requests among entries."""
    saved = sorted_out(entries)
    keys = [key for _, keys, *_ in saved.spans for key in keys]
    keys += [(entry[1], entry[2]) for entry in (*saved.rows, *saved.waiting)]
    return {ident for ident, _ in keys} - {""}


@pytest.fixture
async def site(
    monitor: MonitorRole, gateway: Any, tabular: Any, registry: Any, eventually: Wait
) -> Site:
    made = Site(monitor, gateway, tabular, registry, eventually)
    await made.publish("a", "subject-7", "b", "subject-7")
    await made.label("a", "subject-7", "subject-8")
    return made


@pytest.mark.parametrize("by", [("subject-7", "client_id"), ("someone", "principal")])
async def test_a_subject_is_nowhere_any_more_and_all_others_are(
    site: Site, by: tuple[str, str]
) -> None:
    await site.monitor._save()
    await site.label("b", "subject-7")
    names = " ".join(site.holding())
    assert ".journal" in names
    assert ".wal" in names
    assert ".arrows" in names
    done = await site.forget(ForgetMeta("o", *by))
    assert (done.rows, done.entries) == (ALL, 1)
    assert len(done.rewritten) == 3
    assert site.holding() == []
    assert done.searched > 4
    assert await site.clients() == ["a", "b"]
    assert site.entries() == {"a", "b", "subject-8"}
    assert site.recent() == 2
    assert await site.label("subject-7", "a", "b") == LabelCounts(duplicate=2, late=1)


async def test_a_journal_that_is_being_copied_is_begun_anew(site: Site) -> None:
    await site.monitor._save()
    checkpoint = site.monitor._persistence._checkpoint
    checkpoint._slice, checkpoint._allowed = 1, -1
    for _ in range(2):  # slices of what is to be forgotten are in it
        await site.monitor._save()
    assert not checkpoint.complete
    await site.forget()
    assert checkpoint.complete
    assert site.holding() == []
    assert [path.name for path in site.data_dir.glob("*.journal")] == ["monitor.4.journal"]


async def test_versions_that_nobody_serves_are_forgotten_too(site: Site) -> None:
    def known() -> set[str]:
        return idents(entry for owner, entry in watches.entries() if "/" in owner)

    watches = site.monitor.service.watches
    watches.put_back()  # as after a restart, before anybody has said what is served
    of_another = requests_of(Subject("subject-7", model="other"), {})
    assert watches.forget_requests(of_another.of, {}) == (0, {})
    assert known() == {"a", "b", "subject-7", "subject-8"}
    assert idents(chain(*(each or () for _, each in watches._changed_before))) == known()
    await site.monitor._save()
    assert ".journal" in " ".join(site.holding())
    assert (await site.forget()).entries == 1
    assert site.holding() == []
    assert known() == {"a", "b", "subject-8"}


async def test_an_order_that_is_repeated_is_harmless(site: Site) -> None:
    done = await site.forget()
    assert await forget(site.registry, ORDER) == done
    again = await site.forget(ForgetMeta("order-2", "subject-7"))
    assert (again.rows, again.entries, again.rewritten) == ({}, 0, [])
    assert await site.clients() == ["a", "b"]


class Held:
    """Holds an order between two steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        original = getattr(forget_running.RunningForget, step)

        def slow(work: Any, *arguments: Any) -> Any:
            self.reached.set()
            assert self.go_on.wait(30)
            return original(work, *arguments)

        monkeypatch.setattr(forget_running.RunningForget, step, slow)


@pytest.mark.parametrize("step", ["await_files", "find", "take_out", "prove"])
async def test_rows_that_come_meanwhile_are_logged_and_kept(
    site: Site, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, step)
    order = asyncio.create_task(site.forget())
    await site.eventually(held.reached.is_set)
    await site.publish("subject-7", "c")
    await site.label("c")
    await site.monitor._save()
    with pytest.raises(Overloaded, match="another order to forget is being carried out; wait"):
        await forget(site.registry, ForgetMeta("order-2", "other"))
    held.go_on.set()
    done = await order
    assert done.rows == ALL
    assert await site.clients() == ["a", "b", "c", "subject-7"]
    counts = site.log._writer.counts()
    assert (counts.stored, counts.dropped.total()) == (6, 0)
    # What the monitor had forgotten before it came in again is looked up in the log.
    assert await site.label("subject-7") == LabelCounts(accepted=1)


async def test_a_label_meanwhile_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, "take_out")
    site.truth._join._forgotten.add_labelled = lambda *_: None  # as if it never had one
    order = asyncio.create_task(site.forget())
    await site.eventually(held.reached.is_set)
    assert await site.label("subject-7") == LabelCounts(accepted=1)
    held.go_on.set()
    assert (await order).entries == 2
    assert "subject-7" not in site.entries()
    (stream,) = site.holding()  # the label has come since
    assert stream.endswith(".arrows")
    assert (await site.forget(ForgetMeta("o-2", "subject-7"))).rows == {"labels": 1}
    assert site.holding() == []


async def test_a_killed_monitor_does_not_log_them_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.forget()
    await site.publish("d", "subject-7")

    async def nothing() -> None:
        """In the place of `_save`: it dies without."""

    monkeypatch.setattr(site.monitor, "_save", nothing)
    await site.monitor.stop()
    again = role_in(tmp_path)
    await again.start()
    try:
        await asyncio.to_thread(again._log.flush)  # type: ignore[union-attr]
        assert await site.clients() == ["a", "b", "d", "subject-7"]
    finally:
        await again.stop()


async def test_who_is_interrupted_does_it_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        failing.setattr(Store, "_write_local", full)
        failing.setattr(forget_running, "STORE_AWAY_S", 0.0)
        with pytest.raises(VigilError, match=r"cannot be made files, so nothing was deleted; do"):
            await site.forget()
    await site.eventually(lambda: site.log.trouble() is None)
    with monkeypatch.context() as failing:
        failing.setattr(forget_running, "take_out", full)
        told = r"^it is not finished, do it again: \[Errno 28\] No space left on device$"
        with pytest.raises(VigilError, match=told):
            await site.forget(ForgetMeta("order-2", "subject-7"))
    assert await site.clients() == ["a", "b", "subject-7", "subject-7"]
    with monkeypatch.context() as failing:
        failing.setattr(Persistence, "_prepare", full)
        with pytest.raises(VigilError, match=told):
            await site.forget(ForgetMeta("order-3", "subject-7"))
    done = await site.forget(ForgetMeta("order-4", "subject-7"))
    assert done.rows == {name: ALL[name] for name in ("predictions", "sensitive")}  # labels first
    assert site.holding() == []


async def test_a_monitor_that_stops_ends_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, "take_out")
    await forget(site.registry, ORDER)
    await site.eventually(held.reached.is_set)
    job = site.monitor._forget._job
    assert job is not None
    stopping = asyncio.create_task(site.monitor.stop())
    await asyncio.sleep(0)
    held.go_on.set()
    await stopping
    assert job.error is not None
    assert job.error.message == "it is not finished, do it again: the monitor has stopped"
    assert await site.clients() == ["a", "b", "subject-7", "subject-7"]


async def test_retention_waits_for_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_job, "LOCK_S", 0.0)
    _, spool = site.log.place
    with forget_job.folder_lock(spool, alone=True) as locked:
        assert locked
        with pytest.raises(VigilError, match="nothing was deleted, do it again later: old files"):
            await site.forget()
    held = Held(monkeypatch, "take_out")
    order = asyncio.create_task(site.forget(ForgetMeta("order-2", "subject-7")))
    await site.eventually(held.reached.is_set)
    roller = site.log._writer._writer._roller  # type: ignore[union-attr]
    assert roller._retain() == 30
    held.go_on.set()
    assert (await order).rows == ALL
    assert roller._retain() == 600


async def test_what_is_wrong_is_told(site: Site) -> None:
    for asked, error, says in (
        (ForgetMeta("1", "x", "in_age"), InvalidInput, "by: no file of the log has a column"),
        (ForgetMeta("2", "x", model="m"), NotFound, "the log has no predictions of model 'm'"),
    ):
        with pytest.raises(error, match=says):
            await site.forget(asked)
    set_aside = site.data_dir / "monitor.wal.1.unreadable"
    set_aside.write_bytes(b"...subject-7...")
    with pytest.raises(VigilError, match="unreadable still holds it: a file that was set aside"):
        await site.forget()
    set_aside.unlink()
    site.monitor._forget.serve(0)
    with pytest.raises(ModelNotReady, match="the monitor is starting or stopping"):
        await site.forget(ForgetMeta("3", "x"))


async def test_files_of_monitors_that_are_no_more(site: Site) -> None:
    entries = [("loans/1", [1, "subject-7", 0, 1, 2.5, [], None])]
    checkpoint = site.monitor._persistence._checkpoint
    former = type(checkpoint)(site.data_dir, "monitor-3", lambda: iter(entries))
    former.prepare({}, [])()
    former.close()
    assert (await site.forget()).entries == 2
    assert site.holding() == []


@pytest.mark.parametrize(
    ("asked", "left"),
    [(ForgetMeta("o", "someone", "principal"), set()),
     (ForgetMeta("o", "subject-7"), {"other"}),
     (ForgetMeta("o", "subject-7", model="k"), {"other", "subject-7"})],
)  # fmt: skip
async def test_what_is_kept_of_a_model_that_is_another_monitors_now(
    site: Site, monkeypatch: pytest.MonkeyPatch, asked: ForgetMeta, left: set[str]
) -> None:
    kept = [[at, ident, 0, "yes", 2.5] for at, ident in enumerate(("other", "subject-7"), 1)]
    site.monitor.service.watches._saved._entries["moved/1"] = kept
    monkeypatch.setattr(forget_job.Where, "mine", lambda _self, model: model in (None, "loans"))
    await site.monitor._save()
    try:
        await site.forget(asked)
    except NotFound:
        assert asked.model == "k"
    entries = [entry for owner, entry in site.monitor.service.entries() if owner == "moved/1"]
    assert idents(entries) == left
    held = site.holding(b'"other"')
    assert any(name.endswith(".journal") for name in held) is bool(left)


@pytest.mark.parametrize(
    "asked", [ForgetMeta("o", "someone", "principal"), ForgetMeta("o", "subject-7", model="loans")]
)
async def test_another_model_has_requests_of_the_same_id(site: Site, asked: ForgetMeta) -> None:
    checkpoint = site.monitor._persistence._checkpoint
    entries = [(owner, [1, "subject-7", 0, 1, 2.5, [], None]) for owner in ("loans/1", "other/1")]
    former = type(checkpoint)(site.data_dir, "monitor-3", lambda: iter(entries))
    former.prepare({}, [])()
    former.close()
    assert (await site.forget(asked)).entries == 2
    assert site.holding() == ["monitor-3.2.journal"]
    former = type(checkpoint)(site.data_dir, "monitor-3", lambda: iter(()))
    saved = former.load()
    assert saved is not None
    assert {owner for owner, left in saved[1].items() if left} == {"other/1"}
    former.close()


async def test_a_monitor_that_stops_waits_for_one_save_and_not_for_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = site.monitor._persistence._checkpoint
    saves: list[object] = []
    original = checkpoint.prepare

    def counted(*arguments: Any) -> Callable[[], None]:
        saves.append(arguments)
        return original(*arguments)

    with monkeypatch.context() as endless:  # as many slices as ever
        endless.setattr(checkpoint, "prepare", counted)
        endless.setattr(type(checkpoint), "complete", False)
        await forget(site.registry, ORDER)
        await site.eventually(lambda: len(saves) > 2)
        async with asyncio.timeout(30):
            await site.monitor.stop()
    job = site.monitor._forget._job
    assert job is not None
    assert job.error is not None
    assert job.error.message == "it is not finished, do it again: the monitor has stopped"
