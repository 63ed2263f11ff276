import threading
from datetime import UTC, datetime

import fsspec
import pytest

from serving.log.reader import LogReader
from serving.log.retention import Retention, all_parts, retain
from serving.log.store import UnknownStore, open_store
from serving.log.writer import LogWriter


@pytest.fixture(params=["local", "file", "memory"])
def url(request, tmp_path):
    """A place that nothing is in yet."""
    if request.param == "memory":
        yield f"memory://{tmp_path.name}/log"
        fsspec.filesystem("memory").store.clear()
    else:
        yield ("file://" if request.param == "file" else "") + str(tmp_path / "log")


def test_a_log_in_any_store(url, tmp_path, rows):
    store = open_store(url)
    assert list(store.files("predictions")) == []
    spool = tmp_path / "open"
    writer = LogWriter(store, spool, Retention(1e5, 1e5, 1e12), {})
    writer.start()
    writer.offer(rows(2, sensitive={"sex": ["F", "M"]}))
    writer.close()
    assert (writer.counts().parts, writer.counts().store_error) == (2, None)
    reader = LogReader(open_store(url), spool)
    assert [row["in_x"] for row in reader.find("m", "r0", 1)] == [1]
    assert reader.scan("m", "in_x = 1").read_all().num_rows == 1
    assert len(all_parts(store)) == 2
    assert retain(store, Retention(1, 1, 1e12), datetime(2100, 1, 1, tzinfo=UTC)) == 2
    assert list(store.files("")) == []


def test_a_file_appears_whole_or_not_at_all(url):
    store = open_store(url)
    half, go_on = threading.Event(), threading.Event()

    def write(file):
        file.write(b"one ")
        half.set()
        assert go_on.wait(60)
        file.write(b"two")

    thread = threading.Thread(target=store.write, args=("a/b", write))
    thread.start()
    assert half.wait(60)
    assert "a/b" not in dict(store.files("a"))
    go_on.set()
    thread.join()
    assert dict(store.files("a")) == {"a/b": 7}
    assert store.read("a/b") == b"one two"

    def broken(file):
        file.write(b"three")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.write("a/c", broken)
    assert list(dict(store.files("a"))) == ["a/b"]


def test_deleting_twice_is_no_error(url):
    store = open_store(url)
    store.write("a/b", lambda file: file.write(b"x"))
    store.delete("a/b")
    store.delete("a/b")
    assert list(store.files("a")) == []


@pytest.mark.parametrize("wrong", ["nonsense://x/y", "s3://", "hdfs://"])
def test_a_store_that_nobody_knows_is_told_in_a_sentence(wrong):
    with pytest.raises(UnknownStore, match=r"log\.url: '.*' cannot be used: .") as caught:
        open_store(wrong)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("wrong", ["s3://key:se/cret@bucket/log?region=a", "s3://key:s%2Fecret@/"])
def test_a_secret_in_a_url_is_told_nobody(wrong):
    with pytest.raises(UnknownStore) as caught:
        open_store(wrong)
    assert "***@" in caught.value.message
    assert "cret" not in caught.value.message
