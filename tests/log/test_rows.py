"""Rows of several batches: whose each is, and the rows of some of their requests."""

import numpy as np
import pytest

from serving.log.rows import LoggedBatches, LoggedRequests, LogRows

NOON = 1_796_040_000.0
IDS = bytes(range(16)) + bytes(range(100, 116))


def of_two_batches(first_rows: tuple[int, ...] = ()) -> LogRows:
    """Return requests a (2 rows) and b of one batch, c and d (3 rows) of another one."""
    return LogRows(
        "m", "1", LoggedBatches(IDS, [2, 2], [NOON, NOON + 1], [0.25, 0.5]),
        LoggedRequests(
            list("abcd"), [2, 1, 1, 3], ["ok", "ok", "failed", "ok"], queue_s=[1, 2, 3, 4],
            decisions=[(), ("schema:flag",), (), ()], first_rows=first_rows,
        ),
        {"x": np.arange(7, dtype=np.float32)}, {"y": np.arange(14).reshape(7, 2)},
        sensitive={"sex": list("FMFMFMF"), "age": np.arange(7)}, revision="r",
    )  # fmt: skip


@pytest.mark.parametrize(("first_rows", "expected"), [((), (0, 2, 0, 1)), ((4, 6, 1, 9),) * 2])
def test_a_row_has_the_id_of_its_batch_and_its_row_there(log, first_rows, expected):
    rows = of_two_batches(first_rows)
    assert rows.request_keys() == list(zip([IDS[:16]] * 2 + [IDS[16:]] * 2, expected, strict=True))
    writer = log.writer()
    assert writer.offer(rows)
    writer.close()
    found = log.table().sort_by("in_x").to_pylist()
    a, b, c, d = expected
    assert [row["row"] for row in found] == [a, a + 1, b, c, d, d + 1, d + 2]
    assert [row["index"] for row in found] == [0, 1, 0, 0, 0, 1, 2]
    assert [row["id"] for row in found] == [IDS[:16]] * 3 + [IDS[16:]] * 4
    assert [row["compute_s"] for row in found] == [0.25] * 3 + [0.5] * 4
    assert [row["guards_s"] for row in found] == [None] * 7
    assert [row["time"].timestamp() for row in found] == [NOON] * 3 + [NOON + 1] * 4
    assert [row["queue_s"] for row in found] == [1, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize("positions", [[0], [1], [2, 3], [0, 3], [0, 1, 2, 3], []])
def test_rows_of_chosen_requests(positions):
    rows = of_two_batches()
    some = rows.chosen(positions)
    wanted = np.flatnonzero(np.isin(np.repeat(np.arange(4), [2, 1, 1, 3]), positions)).tolist()
    assert some.request_keys() == [rows.request_keys()[at] for at in positions]
    assert some.requests.client_ids == ["abcd"[at] for at in positions]
    assert some.requests.outcomes == [rows.requests.outcomes[at] for at in positions]
    assert some.requests.decisions == [rows.requests.decisions[at] for at in positions]
    assert some.requests.arms == []
    assert some.count == len(wanted)
    assert some.inputs["x"].tolist() == wanted
    assert some.outputs["y"][:, 0].tolist() == [2 * row for row in wanted]
    assert some.sensitive["sex"] == ["FMFMFMF"[row] for row in wanted]
    assert some.sensitive["age"].tolist() == wanted
    if positions:
        assert some.time == (NOON if min(positions) < 2 else NOON + 1)


def test_batches_without_as_many_requests_as_there_are_cost_their_rows_alone(log, rows, wait):
    writer = log.writer()
    requests = LoggedRequests(["a"], [1], ["ok"])
    writer.offer(LogRows("m", "1", LoggedBatches(IDS, [1, 1], [NOON, NOON]), requests))
    writer.offer(LogRows("m", "1", LoggedBatches(IDS[:8], [1], [NOON]), requests))
    writer.offer(rows(1))
    wait(lambda: writer.counts().waiting == 0)
    assert writer.counts().dropped == {"unwritable": 2}
    assert writer.counts().stored == 1


def test_flushed_rows_can_be_read(log, rows):
    writer = log.writer()
    for number in range(20):
        writer.offer(rows(3))
        assert writer.flush(30)
        assert log.table().num_rows == 3 * (number + 1)
