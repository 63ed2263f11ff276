import numpy as np
import pytest

from serving.log.rows import ModelLog


def test_rows_are_read_from_streams_and_from_files_as_they_were_given(log, rows, wait):
    requests = {
        "outcomes": ["ok", "rejected"], "queue_s": [0.5, 1.0], "decisions": [[], ["schema:reject"]],
        "arms": ["a", None], "propensities": [0.25, None], "trace_ids": ["ab" * 16, None],
        "principals": ["ann", "bob"],
    }  # fmt: skip
    scores = {"mahalanobis": np.array([1.0, 2.0, np.nan], np.float32)}
    given = rows(2, 1, requests=requests, scores=scores, revision="7", compute_s=0.125)
    writer = log.writer()
    assert writer.offer(given)
    wait(lambda: writer.counts().stored == 3)
    unfinished = log.table()
    assert log.parts() == []
    writer.close()
    assert len(log.parts()) == 1
    for table in (unfinished, log.table()):
        assert table.sort_by("row").to_pylist() == [
            {
                "model": "m", "version": "1", "date": "2026-11-30",
                "id": given.batches.ids, "row": row,
                "client_id": given.requests.client_ids[request],
                "index": index, "time": table["time"][0].as_py(),
                "outcome": ("ok", "rejected")[request], "arm": ("a", None)[request],
                "propensity": (0.25, None)[request],
                "decisions": ([], ["schema:reject"])[request], "queue_s": (0.5, 1.0)[request],
                "total_s": None, "trace_id": ("ab" * 16, None)[request],
                "principal": ("ann", "bob")[request], "revision": "7", "compute_s": 0.125,
                "guards_s": None, "in_x": float(row), "out_y": [0.5, 0.5],
                "score_mahalanobis": (1.0, 2.0, None)[row],
            }
            for row, (request, index) in enumerate([(0, 0), (0, 1), (1, 0)])
        ]  # fmt: skip
        assert table["time"][0].as_py().isoformat() == "2026-11-30T12:00:00+00:00"


def test_every_row_that_is_offered_is_counted_once(log, rows, wait, small):
    first = rows(3)
    writer = log.writer({"half": ModelLog(sample=0.5)}, small(queue_bytes=first.nbytes * 40))
    offered = 0
    for number in range(200):
        given = rows(3, model=("m", "half")[number % 2])
        if number % 10 == 0:  # a tensor without as many rows as its requests
            given = rows(3, inputs={"x": np.zeros(2, np.float32)})
        writer.offer(given)
        offered += 3
        counts = writer.counts()
        settled = counts.stored + counts.sampled_out + counts.dropped.total()
        assert counts.offered == offered == settled + counts.waiting
    wait(lambda: writer.counts().waiting == 0)
    counts = writer.counts()
    assert counts.dropped["queue_full"] > 0
    assert counts.dropped.keys() == {"queue_full", "unwritable"}
    assert counts.stored == log.table().num_rows + log.table("half").num_rows
    assert counts.offered == counts.stored + counts.sampled_out + counts.dropped.total()


def test_after_the_end_nothing_is_taken(log, rows):
    writer = log.writer()
    writer.close()
    assert not writer.offer(rows(2))
    assert writer.counts().dropped == {"stopped": 2}


def test_one_wrong_batch_does_not_cost_the_others_theirs(log, rows, wait):
    writer = log.writer()
    good, bad = rows(1), rows(2, inputs={"x": np.zeros(1, np.float32)})
    for given in (good, bad, rows(1)):
        writer.offer(given)
    wait(lambda: writer.counts().waiting == 0)
    assert writer.counts().stored == 2
    assert writer.counts().dropped == {"unwritable": 2}
    assert log.table().num_rows == 2


@pytest.mark.parametrize(
    ("capture", "columns"),
    [
        ("full", {"in_x", "in_image", "in_age", "in_job", "out_y"}),
        ("features", {"in_x", "in_age", "in_job"}),
        ("none", set()),
    ],
)
def test_capture_says_which_columns_there_are(log, rows, capture, columns):
    writer = log.writer({"m": ModelLog(capture, features={"person": ["age", "job"]})})
    writer.offer(rows(2, inputs={
        "x": np.zeros((2, 1), np.float32), "image": np.zeros((2, 3, 4), np.uint8),
        "person": np.array([[1, 2], [3, 4]], np.int64),
    }, sensitive={"sex": ["F", None]}))  # fmt: skip
    writer.close()
    found = log.table()
    assert {name for name in found.column_names if name[:3] in ("in_", "out")} - {
        "outcome"
    } == columns
    if capture != "none":
        assert found["in_job"].to_pylist() == [2, 4]
    if capture == "full":
        assert found["in_image"].to_pylist() == [[[0] * 4] * 3] * 2
    assert log.table(dataset="sensitive").num_rows == (0 if capture == "none" else 2)


def test_a_sample_keeps_whole_requests_and_all_errors_and_flagged_rows(log, rows):
    writer = log.writer({"m": ModelLog(sample=0.2)})
    flagged = {"decisions": [["mahalanobis:flag"], []], "outcomes": ["ok", "failed"]}
    kept_always = [rows(2, 3, requests=flagged) for _ in range(50)]
    sampled = [rows(4, 4, sensitive={"sex": ["F"] * 8}) for _ in range(500)]
    for given in (*kept_always, *sampled):
        writer.offer(given)
    writer.close()
    found = log.table().to_pylist()
    always = {given.batches.ids for given in kept_always}
    assert sum(row["id"] in always for row in found) == 250
    chosen = [(row["client_id"], row["index"]) for row in found if row["id"] not in always]
    requests = {client for client, _ in chosen}
    assert 130 < len(requests) < 270  # of 1000; five standard deviations
    assert set(chosen) == {(client, index) for client in requests for index in range(4)}
    sensitive = log.table(dataset="sensitive").to_pylist()
    assert {(row["client_id"], row["index"]) for row in sensitive} == set(chosen)
    assert writer.counts().sampled_out == 4000 - len(chosen)


@pytest.mark.parametrize(("sample", "rows_kept"), [(0.0, 0), (1.0, 20)])
def test_a_sample_of_nothing_and_of_all(log, rows, sample, rows_kept):
    writer = log.writer({"m": ModelLog(sample=sample)})
    for _ in range(20):
        writer.offer(rows(1))
    writer.close()
    assert log.table().num_rows == rows_kept


def test_sensitive_features_stand_in_a_dataset_that_only_the_owner_reads(log, rows, wait):
    writer = log.writer()
    writer.offer(rows(2, sensitive={"sex": ["F", None], "age": np.array([31, 32])}))
    wait(lambda: writer.counts().stored == 2)
    streams = [path for path in log.spool.rglob("*.arrows") if "sensitive" in path.parts]
    assert [path.stat().st_mode & 0o777 for path in streams] == [0o600]
    writer.close()
    private = [path for path in log.folder.rglob("part-*") if "sensitive" in path.parts]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert {path.suffix for path in private} == {".parquet", ".ids"}
    found = log.table(dataset="sensitive")
    assert found["sex"].to_pylist() == ["F", None]
    assert found["age"].to_pylist() == [31, 32]
    assert found["id"].to_pylist() == log.table()["id"].to_pylist()
    assert {"sex", "age"}.isdisjoint(log.table().column_names)


def test_streams_are_rolled_by_rows_and_by_age(log, rows, wait, small):
    writer = log.writer(limits=small(max_rows=4))
    for _ in range(3):
        writer.offer(rows(4))
        wait(lambda: writer.counts().waiting == 0)
    wait(lambda: writer.counts().parts == 3)
    by_age = log.writer(limits=small(max_age_s=0.1))
    by_age.offer(rows(1))
    wait(lambda: by_age.counts().parts == 1)
    assert log.table().num_rows == 13
    assert list(log.spool.rglob("*.arrows")) == []


def test_models_versions_and_days_have_folders_of_their_own(log, rows):
    writer = log.writer()
    name = "a/b=c ü.."
    for given in ({}, {"version": "2"}, {"model": name}, {"time": 1e9}):
        writer.offer(rows(1, **given))
    writer.close()
    folders = {str(path.parent.relative_to(log.folder / "predictions")) for path in log.parts()}
    assert folders == {
        "model=m/version=1/date=2026-11-30", "model=m/version=2/date=2026-11-30",
        "model=m/version=1/date=2001-09-09",
        "model=a%2Fb%3Dc%20%C3%BC../version=1/date=2026-11-30",
    }  # fmt: skip
    assert log.table(name)["model"].to_pylist() == [name]
    assert log.table().num_rows == 3


def test_columns_that_come_and_go_and_change_their_type(log, rows):
    writer = log.writer()
    texts = np.array([b"doctor", b"\xff\xfe"], object)
    for inputs in (
        {"x": np.array([1, 2], np.int64)}, {"x": np.array([0.5, 1.5])}, {},
        {"z": np.array([1, 2], np.float16)}, {"job": texts[:1].repeat(2)}, {"job": texts},
    ):  # fmt: skip
        writer.offer(rows(2, inputs=inputs))
    writer.close()
    found = log.table()
    assert sorted(found["in_x"].drop_null().to_pylist()) == [0.5, 1.0, 1.5, 2.0]
    assert found["in_x"].null_count == 8
    assert found["in_job"].drop_null().to_pylist().count(b"doctor") == 3
    assert b"\xff\xfe" in found["in_job"].to_pylist()


def test_features_of_one_name_in_two_tensors_keep_both(log, rows):
    writer = log.writer({"m": ModelLog(features={"a": ["age"], "b": ["age"]})})
    writer.offer(rows(1, inputs={"a": np.array([[1.0]]), "b": np.array([[2.0]])}))
    writer.close()
    found = log.table()
    assert found["in_age"].to_pylist() == [1.0]
    assert found["in_b_in_age"].to_pylist() == [2.0]


@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
def test_rows_whose_free_axis_differs_are_read_together(log, rows, wait, order):
    writer = log.writer({"m": ModelLog(lists=frozenset(["x", "y"]))})
    for width in order:
        array = np.arange(2 * width, dtype=np.float32).reshape(2, width)
        writer.offer(rows(2, inputs={"x": array}, outputs={"y": array}))
    wait(lambda: writer.counts().stored == 4)
    for close in (False, True):
        if close:
            writer.close()
        table = log.table()
        for column in ("in_x", "out_y"):
            values = sorted(table[column].to_pylist(), key=len)
            assert values == [[0.0], [1.0], [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_single_values_are_no_lists_where_only_these_are_kept(log, rows, wait):
    writer = log.writer({"m": ModelLog("features", lists=frozenset(["x"]))})
    writer.offer(rows(2, inputs={"x": np.ones((2, 1), np.float32)}))
    writer.offer(rows(2, inputs={"x": np.ones((2, 3), np.float32)}))
    wait(lambda: writer.counts().stored == 4)
    assert sorted(map(str, log.table()["in_x"].to_pylist())) == ["1.0", "1.0", "None", "None"]


def test_a_cut_tells_what_was_offered_before(log, rows, wait):
    writer = log.writer()
    writer.offer(rows(2))
    cut = writer.cut(30)
    wait(log.parts)
    writer.offer(rows(1))
    wait(lambda: writer.counts().stored == 3)
    (stream,), (part,) = log.spool.rglob("*.arrows"), log.parts()
    assert [cut.is_later(path.name) for path in (part, stream)] == [False, True]
    writer.close()
    assert writer.cut(0) is None
