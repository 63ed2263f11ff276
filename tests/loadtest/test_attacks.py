import pytest

from loadtest.attacks import ATTACKS, run
from serving.http2.frames import PREFACE


@pytest.mark.parametrize("name", ATTACKS)
def test_each_sends_much_and_ends(sink, name):
    server = sink()
    told = run(name, server.port, 0.5)
    server.close()
    assert told["connections"] == len(server.received) >= 1
    assert told["sent_mb"] > 0.005
    start = PREFACE if ATTACKS[name][1] else (b"POST /v2/", b"GET /v2/")
    assert all(bytes(each).startswith(start) for each in server.received if each)


def test_it_comes_again_when_it_is_hung_up_on(sink):
    server = sink(lambda connection, sent: connection.close() if len(sent) > 5000 else None)
    assert run("pipelined", server.port, 1)["connections"] > 1
