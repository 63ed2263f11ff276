"""What the monitor is told of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from guards.decisions import Action
from serving.access.principals import Principal
from serving.channel.messages.observation import ANSWERED, ASKED, FAILED, REFUSED
from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.event_batches import MOST_REFUSED_BYTES, EventBatch, EventKey
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.events import Events
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.records import Failure, RequestDone
from serving.dataplane.requests.bound import Bound, Fitting
from serving.dataplane.requests.decisions import RowDecision
from serving.telemetry.counters import SeriesSet
from serving.telemetry.outcomes import OUTCOME_DEADLINE, OUTCOME_FAILED, OUTCOME_REJECTED

Make = Callable[..., Any]
KEY = ("m", "1", "r")
REJECTED = Failure("GuardRejected", OUTCOME_REJECTED, 422, "no")
BROKEN = Failure("ModelFailed", OUTCOME_FAILED, 500, "no")


class Publisher:
    def __init__(self) -> None:
        self.events: list[tuple[EventKey, EventBatch]] = []

    def publish(self, key: EventKey, batch: EventBatch) -> None:
        self.events.append((key, batch))


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


def numbered(make_request: Make, sizes: list[int], how: list[str]) -> list[RequestDone]:
    """Return requests whose rows bear their number in the batch, each ended in its way."""
    ends: dict[str, dict[str, Any]] = {
        "ok": {},
        "late": {"outcome": OUTCOME_DEADLINE, "refused": True},
        "rejected": {"outcome": OUTCOME_REJECTED, "failure": REJECTED},
        "failed": {"outcome": OUTCOME_FAILED, "failure": BROKEN},
        "other": {"upstream": "2"},
    }
    requests, row, output_row = [], 0, 0
    for number, (size, end) in enumerate(zip(sizes, how, strict=True)):
        x = np.arange(row, row + size, dtype=np.float32)[:, None]
        at = -1 if end == "failed" else output_row
        requests.append(make_request(f"r{number}", x, row=row, output_row=at, **ends[end]))
        row += size
        output_row += 0 if end == "failed" else size
    return requests


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_told_but_what_failed_or_was_taken_back(
    publisher: Publisher, make_request: Make, make_done: Make, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=6).tolist()
    kinds = ["ok", "late", "rejected", "failed", "other"][: 1 + seed % 5]
    how = rng.choice(kinds, size=6).tolist()
    requests = numbered(make_request, sizes, how)
    Events(KEY, publisher, inputs=True).batch_done(make_done(*requests))  # type: ignore[arg-type]
    owner = np.repeat(np.arange(6), sizes)
    for upstream, ends in (("", ("ok", "late")), ("2", ("other",))):
        kept = [at for at in range(6) if how[at] in ends]
        told = [batch for key, batch in publisher.events if key.upstream == upstream]
        assert len(told) == bool(kept)
        for batch in told:
            expected = np.flatnonzero(np.isin(owner, kept))
            assert batch.ids == [f"r{at}" for at in kept]
            assert batch.rows == [sizes[at] for at in kept]
            assert batch.inputs["x"].ravel().tolist() == expected.tolist()
            assert batch.outputs["y"].ravel().tolist() == (2 * expected).tolist()
            assert batch.sensitive is None
            assert batch.log is None
    assert {key[:3] for key, _ in publisher.events} <= {KEY}
    assert {key.kind for key, _ in publisher.events} <= {ANSWERED}


def test_columns_of_a_whole_batch_are_not_copied_nor_inputs_joined_for_nobody(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    def joined() -> Any:
        raise AssertionError("nobody wants inputs")

    done = make_done(make_request(), inputs=joined)
    Events(KEY, publisher, inputs=False).batch_done(done)  # type: ignore[arg-type]
    [(_, batch)] = publisher.events
    assert batch.inputs == {}
    assert batch.outputs is done.outputs


def test_only_tensors_that_somebody_wants_are_told(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    done = make_done(make_request())
    both = {"y": done.outputs["y"], "z": done.outputs["y"]}
    done = make_done(make_request(), outputs=both, inputs=lambda: {"x": both["y"], "w": both["y"]})
    some = {"inputs": frozenset(["x", "v"]), "outputs": frozenset(["z"])}
    Events(KEY, publisher, **some).batch_done(done)  # type: ignore[arg-type]
    Events(KEY, publisher, inputs=False, outputs=False).batch_done(done)  # type: ignore[arg-type]
    told = [(list(batch.inputs), list(batch.outputs)) for _, batch in publisher.events]
    assert told == [(["x"], ["z"]), ([], [])]


def test_a_request_of_a_logged_model_costs_no_python_call(
    publisher: Publisher, make_request: Make, make_done: Make, calls_of: Make
) -> None:
    events = Events(KEY, publisher, inputs=True, logged=True, kept=True)  # type: ignore[arg-type]
    counts = []
    for size, scored in ((4, False), (64, False), (64, True)):
        done = make_done(
            *(make_request(f"r{at}", row=at, output_row=at) for at in range(size)),
            scores={"far": np.ones(size, np.float32)} if scored else None,
        )
        counts.append(calls_of(functools.partial(events.batch_done, done)))
    assert counts[0] == counts[1] == counts[2]
    assert len(counts[0]) <= 8


def test_sensitive_values_stand_beside_their_rows(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    requests = [
        make_request("a", [[0, 0], [0, 0]], sensitive={"sex": np.array(["F", None], object)}),
        make_request("b", row=2, output_row=2),
        make_request("c", row=3, output_row=3, sensitive={"age": np.array(["old"], object)}),
    ]
    Events(KEY, publisher, inputs=True).batch_done(make_done(*requests))  # type: ignore[arg-type]
    [(_, batch)] = publisher.events
    assert batch.sensitive is not None
    assert {name: column.tolist() for name, column in batch.sensitive.items()} == {
        "sex": ["F", None, None, None],
        "age": [None, None, None, "old"],
    }


def test_nothing_is_told_of_requests_without_rows(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    empty = make_request(x=np.zeros((0, 2)))
    Events(KEY, publisher, inputs=True).batch_done(make_done(empty))  # type: ignore[arg-type]
    assert not publisher.events


@pytest.fixture
def logged(publisher: Publisher) -> Events:
    return Events(KEY, publisher, inputs=True, logged=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_of_a_logged_model_every_request_of_a_batch_is_told_once(
    publisher: Publisher, logged: Events, make_request: Make, make_done: Make, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 4, size=6).tolist()
    how = rng.choice(["ok", "late", "rejected", "failed", "other"], size=6).tolist()
    logged.batch_done(make_done(*numbered(make_request, sizes, how), id=b"b" * 16))
    told: dict[str, tuple[str, EventBatch, int]] = {}
    for key, batch in publisher.events:
        assert batch.log is not None
        assert (batch.log.id, batch.log.compute_ns, batch.log.guards_ns) == (b"b" * 16, 1000, 500)
        for at, ident in enumerate(batch.ids):
            assert ident not in told
            told[ident] = (key.kind, batch, at)
    starts = np.cumsum([0, *sizes])
    for number, end in enumerate(how):
        kind, batch, at = told.pop(f"r{number}")
        requests = batch.log.requests  # type: ignore[union-attr]
        assert kind == (FAILED if end in ("rejected", "failed") else ANSWERED)
        assert bool(batch.outputs) == (kind == ANSWERED)
        assert requests.first_rows[at] == starts[number]
        assert requests.queue_s[at] == 0.3
        assert requests.total_s[at] > 0.4
        outcome = {"late": "deadline", "rejected": "rejected", "failed": "failed"}.get(end)
        assert requests.outcomes.get(at) == outcome
        assert (at in requests.told_elsewhere) == (end == "late")
        first = sum(batch.rows[:at])
        rows = batch.inputs["x"][first : first + sizes[number]].ravel().tolist()
        assert rows == list(range(starts[number], starts[number + 1]))
    assert not told


def test_what_few_requests_have_stands_at_their_position(
    publisher: Publisher, logged: Events, make_request: Make, make_done: Make
) -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    decision = RowDecision("schema", 1, Action.FLAG, "odd")
    logged.batch_done(
        make_done(
            make_request("a"),
            make_request("b", row=1, output_row=1, decisions=(decision,), arm="new"),
            make_request(
                "c", row=2, output_row=2, context=RequestContext(Principal("key-7"), trace)
            ),
            make_request("d", row=3, output_row=3, context=RequestContext(traceparent=b"junk")),
        )
    )
    [(_, batch)] = publisher.events
    assert batch.log is not None
    requests = batch.log.requests
    assert requests.decisions == {1: [("schema", 1, Action.FLAG)]}
    assert requests.arms == {1: "new"}
    assert requests.traces == {2: trace.decode()}
    assert requests.principals == {2: "key-7"}


@pytest.mark.parametrize("seed", range(10))
def test_scores_stand_beside_their_rows(
    publisher: Publisher, make_request: Make, make_done: Make, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=5).tolist()
    how = rng.choice(["ok", "rejected", "failed", "other"], size=5).tolist()
    done = make_done(
        *numbered(make_request, sizes, how),
        scores={"far": np.arange(sum(sizes), dtype=np.float32) / 2},
    )
    logged = Events(KEY, publisher, inputs=True, logged=True, kept=True)  # type: ignore[arg-type]
    logged.batch_done(done)
    for _, batch in publisher.events:
        assert batch.scores is not None
        assert (2 * batch.scores["far"]).tolist() == batch.inputs["x"].ravel().tolist()


def test_scores_of_a_whole_batch_are_not_copied_nor_told_where_the_log_keeps_none(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    done = make_done(make_request(), scores={"far": np.ones(1, np.float32)})
    for logged, kept in ((True, True), (True, None), (False, True), (False, None)):
        Events(KEY, publisher, inputs=True, logged=logged, kept=kept).batch_done(done)  # type: ignore[arg-type]
    told = [batch.scores for _, batch in publisher.events]
    assert told == [done.scores, None, None, None]
    assert told[0] is done.scores


def test_who_watches_rates_of_guards_is_told_of_every_row_that_was_judged(
    publisher: Publisher, make_request: Make, make_done: Make, make_refused: Make
) -> None:
    far = np.array([0.5, 2.0, np.nan], np.float32)
    flagged = (RowDecision("schema", 1, Action.FLAG, "out of range"),)
    done = make_done(make_request(x=[[0, 0]] * 3, decisions=flagged), scores={"far": far})
    events = Events(KEY, publisher, inputs=False, guards=("schema", "far"))
    events.batch_done(done)
    rejected = (RowDecision("schema", 0, Action.REJECT, "out of range"),)
    refused = make_refused()
    events.request_refused(refused)  # no guard has seen it
    events.request_refused(replace(refused, decisions=rejected))
    became = [
        {name: flags.tolist() for name, flags in (batch.guards or {}).items()}
        for _, batch in publisher.events
    ]
    assert became == [{"schema": [0, 1, 0], "far": [0, 1, 2]}, {"schema": [1]}]
    assert [(batch.log, batch.scores) for _, batch in publisher.events] == [(None, None)] * 2


def test_a_refused_request_is_told_without_rows_of_anything(
    publisher: Publisher, logged: Events, make_refused: Make
) -> None:
    logged.request_refused(make_refused(waited_s=0.25, ident="late"))
    [(key, batch)] = publisher.events
    assert key == EventKey("m", "1", "r", "", REFUSED)
    assert (batch.ids, batch.rows, batch.inputs, batch.outputs) == (("late",), (1,), {}, {})
    assert batch.log is not None
    assert batch.log.id == bytes(16)
    assert batch.log.requests.outcomes == {0: "overloaded"}
    assert batch.log.requests.total_s == [0.25]


def fitting(**inputs: np.ndarray) -> Fitting:
    return Fitting(1, inputs, {"sex": np.array(["F"], object)})


@pytest.mark.parametrize(
    ("kept", "told"),
    [(None, None), (True, ("x", "w")), (frozenset(["w"]), ("w",)), (frozenset(), ())],
)
def test_a_refused_request_is_told_with_what_the_log_keeps(
    publisher: Publisher, make_refused: Make, kept: Any, told: Any
) -> None:
    x, w = np.ones((1, 2), np.float32), np.array([[b"ab"]], object)
    events = Events(KEY, publisher, inputs=True, logged=True, kept=kept)  # type: ignore[arg-type]
    scores = {"far": np.float32([1.5])}
    events.request_refused(make_refused(REJECTED, fitting=fitting(x=x, w=w), scores=scores))
    [(key, batch)] = publisher.events
    assert (key.kind, key.inputs, batch.rows) == (REFUSED, told or (), (1,))
    assert tuple(batch.inputs) == (told or ())
    assert all((batch.inputs[name] == {"x": x, "w": w}[name]).all() for name in batch.inputs)
    if told is None:
        assert (batch.sensitive, batch.scores) == (None, None)
    else:
        assert batch.sensitive is not None
        assert (batch.sensitive["sex"].tolist(), batch.scores) == (["F"], scores)
        texts = ["F"] + ["ab"] * ("w" in batch.inputs)
        assert batch.text_bytes == np.dtype(object).itemsize + sum(map(len, texts))


def test_what_is_told_of_a_refused_request_does_not_hold_its_body(
    publisher: Publisher, make_refused: Make
) -> None:
    body = np.zeros(1 << 16, np.uint8)
    x, w = body[:8].view(np.float32).reshape(1, 2), np.array([[b"ab"]], object)
    wide = np.broadcast_to(body[:4].view(np.float32), (1, 1))
    scores = np.float32([1, 2, 3])  # of the batch that it was in
    events = Events(KEY, publisher, inputs=True, logged=True, kept=True)  # type: ignore[arg-type]
    refused = make_refused(
        REJECTED, fitting=fitting(x=x, w=w, wide=wide), scores={"far": scores[1:2]}
    )
    events.request_refused(refused)
    [(_, batch)] = publisher.events
    assert batch.scores is not None
    assert batch.inputs.keys() == {"x", "w", "wide"}
    for array in (*batch.inputs.values(), *batch.scores.values()):
        assert array.base is None
    assert batch.scores["far"].tolist() == [2]


@pytest.mark.parametrize(
    "large",
    [np.zeros((1, MOST_REFUSED_BYTES // 4 + 1), np.float32),
     np.array([[b"a" * MOST_REFUSED_BYTES]], object)],
)  # fmt: skip
def test_large_inputs_of_a_refused_request_stay_out(
    publisher: Publisher, make_refused: Make, large: np.ndarray
) -> None:
    events = Events(KEY, publisher, inputs=True, logged=True, kept=True)  # type: ignore[arg-type]
    small = np.ones((1, 1), np.float32)
    for array in (large, small):
        events.request_refused(make_refused(REJECTED, fitting=fitting(x=array)))
    [(first, without), (second, with_inputs)] = publisher.events
    assert (without.inputs, without.rows, without.text_bytes) == ({}, (1,), 0)
    assert with_inputs.inputs == {"x": small}
    assert with_inputs.sensitive is not None
    assert first != second  # else they would have to share a message


@pytest.mark.parametrize("single", [True, False])
def test_what_is_told_of_an_answer_does_not_hold_what_is_not_told(
    publisher: Publisher, make_request: Make, make_done: Make, single: bool
) -> None:
    requests = [make_request(f"r{at}", row=at, output_row=at) for at in range(1 if single else 2)]
    body, frame = np.zeros((len(requests), 100), np.float32), np.ones((len(requests), 100), "f")
    done = make_done(
        *requests,
        inputs=lambda: {"x": body[:, :1], "image": body[:, 1:]},
        outputs={"y": frame[:, :1], "mask": frame[:, 1:]},
    )
    some = Events(
        KEY, publisher, inputs=frozenset(["x"]), outputs=frozenset(["y"]), logged=True  # type: ignore[arg-type]
    )  # fmt: skip
    everything = Events(
        KEY, publisher, inputs=frozenset(["x", "image"]), outputs=True, logged=True  # type: ignore[arg-type]
    )  # fmt: skip
    for events in (some, everything):
        events.batch_done(done)
    [(_, small), (_, whole)] = publisher.events
    assert (small.inputs.keys(), small.outputs.keys()) == ({"x"}, {"y"})
    assert small.inputs["x"].base is None
    assert small.outputs["y"].base is None
    assert small.outputs["y"].tolist() == [[1.0]] * len(requests)
    assert whole.inputs["image"].base is body  # which is told anyhow
    assert whole.outputs["mask"].base is frame


def test_long_texts_of_a_refused_request_stay_out(publisher: Publisher, make_refused: Make) -> None:
    events = Events(KEY, publisher, inputs=True, logged=True, kept=True)  # type: ignore[arg-type]
    x = np.ones((2, 1), np.float32)
    half = "F" * (MOST_REFUSED_BYTES // 2 + 1)
    for texts in ([half, half], [half, None]):
        given = Fitting(2, {"x": x}, {"sex": np.array(texts, object)})
        events.request_refused(make_refused(REJECTED, fitting=given))
    [(_, without), (_, with_texts)] = publisher.events
    assert (without.inputs, without.sensitive, without.text_bytes) == ({}, None, 0)
    assert with_texts.sensitive is not None
    assert with_texts.text_bytes == len(half) + 2 * np.dtype(object).itemsize


def test_nobody_gets_outputs_that_nobody_wants(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    events = Events(KEY, publisher, inputs=False, outputs=False, logged=True)  # type: ignore[arg-type]
    events.batch_done(make_done(make_request()))
    [(_, batch)] = publisher.events
    assert (batch.inputs, batch.outputs, batch.rows) == ({}, {}, [1])


def test_requests_whose_answers_nobody_knows_are_of_a_kind_of_their_own() -> None:
    x = np.ones((2, 1), np.float32)
    bound = Bound((x,), 2, ((1,),), (), None)

    def told(outputs: dict[str, np.ndarray], **wanted: bool) -> list[tuple[EventKey, EventBatch]]:
        publisher = Publisher()
        hook = Events(KEY, publisher, **wanted)  # type: ignore[arg-type]
        recorder = Recorder(KEY, EventCounters(SeriesSet(), "m", "1", ()), (hook,), ())
        recorder.observed("c", bound, ("x",), outputs, when=5.0, upstream="v2")
        return publisher.events

    assert told({}, inputs=False) == []  # of use for nobody
    for logged in (False, True):
        [(key, batch)] = told({}, inputs=True, logged=logged)
        assert (key.kind, list(batch.inputs), batch.outputs) == (ASKED, ["x"], {})
        assert (batch.log is not None) == logged
    [(key, batch)] = told({"y": x}, inputs=True)
    assert (key.kind, key.upstream, list(batch.outputs)) == (ANSWERED, "v2", ["y"])
