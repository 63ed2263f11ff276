"""A log on a real S3 server, SeaweedFS: with an endpoint of its own, and killed in the middle."""

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.dataset as pads
import pytest

from serving.log.forget import forget
from serving.log.place import LogPlace
from serving.log.reader import LogReader
from serving.log.retention import Retention, retain
from serving.log.store import TEMPORARY, LateStore, open_store
from serving.log.subject import Subject
from serving.log.writer import LogWriter

KEY, SECRET = "vigil-key", "vigil-secret"
FOREVER = Retention(1e5, 1e5, 1e15)


class S3Server:
    """SeaweedFS in a folder of its own; what it has acknowledged survives its being killed."""

    def __init__(self, folder):
        self.folder = folder
        names = [
            f"{role}.port{kind}"
            for role in ("master", "volume", "filer", "s3")
            for kind in ("", ".grpc")
        ]
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._process = None

    @property
    def address(self):
        return f"127.0.0.1:{self._ports['s3.port']}"

    def url(self, bucket="bucket", more=""):
        options = f"endpoint_override={self.address}&scheme=http&allow_bucket_creation=true{more}"
        return f"s3://{bucket}/log?{options}"

    def start(self):
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        with (self.folder / "output").open("a") as output:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server",
                    f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
                    *ports, "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
                    "-master.electionTimeout=1s", "-master.telemetry=false",
                    "-master.volumeSizeLimitMB=64", "-volume.max=30",
                ],
                env=os.environ | environment | {"HOME": str(self.folder)},
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + 60
        while not self._answers():
            said = self.folder / "output"
            assert self._process.poll() is None, said.read_text()[-4000:]
            assert time.monotonic() < end, said.read_text()[-4000:]
            time.sleep(0.05)

    def _answers(self):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 403
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _free_ports(number):
    """Find ports that no client is given by chance while the server is down."""
    with contextlib.ExitStack() as stack:
        found = []
        while len(found) < number:
            port = random.SystemRandom().randrange(10_000, 32_000)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = S3Server(tmp_path_factory.mktemp("s3"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # nobody is asked for a role


@pytest.fixture
def bucket(request):
    """A name of a bucket that no other test uses."""
    return request.node.name.replace("_", "-")[:60].rstrip("-")


def test_a_log_is_written_rolled_found_retained_and_forgotten(
    server, bucket, tmp_path, rows, small, wait
):
    url, spool = server.url(bucket), tmp_path / "open"
    writer = LogWriter(LogPlace(url, spool).store(), spool, FOREVER, {}, small(max_rows=2))
    writer.start()
    for _ in range(3):
        writer.offer(rows(2, sensitive={"sex": ["F", "M"]}))
        wait(lambda: writer.counts().waiting == 0)
    wait(lambda: writer.counts().parts == 6)
    reader = LogReader(open_store(url), spool)
    assert [row["in_x"] for row in reader.find("m", "r1", 1)] == [1]
    writer.offer(rows(1))
    wait(lambda: writer.counts().stored == 7)
    assert reader.scan("m").read_all().num_rows == 7
    assert reader.scan("m", "in_x = 1").read_all().num_rows == 3
    writer.close(timeout_s=60)
    assert (writer.counts().parts, writer.counts().store_error) == (7, None)
    assert list(spool.iterdir()) == []

    store = open_store(url)
    done = forget(store, spool, Subject("r2"))
    assert (done.rows, done.client_ids()) == ({"predictions": 2, "sensitive": 2}, {"m": {"r2"}})
    assert LogReader(store, None).find("m", "r2") == []
    assert LogReader(store, None).scan("m").read_all().num_rows == 5
    assert _unfinished(store) == []

    assert retain(store, Retention(1, 1, 1e15), datetime(2100, 1, 1, tzinfo=UTC)) == 5
    assert list(store.files("")) == []


def test_other_programs_read_the_files_as_one_table(server, bucket, tmp_path, rows):
    writer = LogWriter(open_store(server.url(bucket)), tmp_path / "open", FOREVER, {})
    writer.start()
    writer.offer(rows(3))
    writer.close(timeout_s=60)
    assert writer.counts().store_error is None
    store = open_store(server.url(bucket))
    files = pads.dataset(
        store.full("predictions"), filesystem=store.filesystem, partitioning="hive"
    )
    with duckdb.connect() as database:
        database.register("files", files)
        found = database.execute("SELECT model, count(*) FROM files GROUP BY model").fetchall()
    assert found == [("m", 3)]


def test_a_server_that_is_killed_in_the_middle_gets_every_row_once(
    server, bucket, tmp_path, rows, small, wait, monkeypatch
):
    monkeypatch.setattr("serving.log.roller._LONGEST_PAUSE_S", 0.5)
    url, spool = server.url(bucket), tmp_path / "open"
    writer = LogWriter(LateStore(url), spool, FOREVER, {}, small(max_rows=1))
    writer.start()

    def offer(times):
        for _ in range(times):
            assert writer.offer(rows(5))
            wait(lambda: writer.counts().waiting == 0)

    offer(8)
    wait(lambda: writer.counts().parts >= 2)
    before = writer.counts()
    server.kill()
    try:
        assert before.parts < before.stored / 5, "it was killed while a part was uploaded"
        offer(3)
        wait(lambda: writer.counts().failures > 0)
        assert "connect" in writer.counts().store_error
        parts = writer.counts().parts
    finally:
        server.start()
    wait(lambda: writer.counts().parts > parts)
    offer(1)
    writer.close(timeout_s=60)
    counts = writer.counts()
    assert (counts.stored, counts.dropped.total(), counts.store_error) == (counts.offered, 0, None)
    assert counts.parts == counts.stored / 5
    assert list(spool.iterdir()) == []

    store = open_store(url)
    assert _unfinished(store) == []
    table = LogReader(store, None).scan("m").read_all()
    keys = set(zip(table["id"].to_pylist(), table["row"].to_pylist(), strict=True))
    assert len(keys) == table.num_rows == counts.stored


CHILD = """
import sys, time
from pathlib import Path
from serving.log.store import open_store
from threading import Thread
def write(): open_store(sys.argv[1]).write("a/b", lambda file: file.write(b"x"))
Thread(target=write, daemon=True).start()
time.sleep(0.5)
print(time.monotonic(), flush=True)
"""


def test_a_process_ends_soon_though_its_store_is_away():
    [port] = _free_ports(1)  # nobody listens there
    url = f"s3://bucket/log?endpoint_override=127.0.0.1:{port}&scheme=http"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, url], capture_output=True, text=True, timeout=60, check=True
    )
    assert time.monotonic() - float(done.stdout) < 10, "it takes twelve with pyarrow's own retries"


def test_the_endpoint_may_come_from_the_environment(server, bucket, monkeypatch):
    open_store(server.url(bucket)).write("a/b", lambda file: file.write(b"x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.address}")
    assert open_store(f"s3://{bucket}/log").read("a/b") == b"x"


def test_credentials_may_stand_in_the_url(server, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    url = server.url(bucket).replace("s3://", f"s3://{KEY}:{SECRET}@")
    store = open_store(url)
    store.write("a/b", lambda file: file.write(b"x"))
    assert store.read("a/b") == b"x"


def test_wrong_credentials_are_an_error(server, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-it")
    with pytest.raises(OSError, match="ACCESS_DENIED") as caught:
        open_store(server.url(bucket)).write("a/b", lambda file: file.write(b"x"))
    assert "not-it" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_an_error(server):
    url = server.url("no-such-bucket").replace("&allow_bucket_creation=true", "")
    with pytest.raises(OSError, match="no-such-bucket"):
        open_store(url).write("a/b", lambda file: file.write(b"x"))


def _unfinished(store):
    return [path for path, _ in store.files("") if path.endswith(TEMPORARY)]
