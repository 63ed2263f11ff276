"""What is found out of a server, asked through a client that answers as a test says."""

from __future__ import annotations

import numpy as np
import pytest

from serving.config import ConfigError
from serving.errors import (
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    NoReplica,
    Unreachable,
    Unsupported,
    UpstreamDenied,
    VigilError,
)
from serving.protocol.messages import InferRequest, Tensor
from serving.protocol.metadata import ModelMetadata
from serving.remote.address import Address
from serving.remote.discovery import discover
from serving.remote.discovery.discover import TIMEOUT_S, connect, list_models, look_around, look_at
from serving.remote.wire import Inferred, Listed, Told


def metadata(*versions):
    return ModelMetadata("m", versions, "", (), ())


class Server:
    """A client whose answers are given: a value, or an error that is raised."""

    address = Address("http", "h", 1)

    def __init__(self, **answers):
        self.answers = {"ready": True, "metadata": metadata(), "config": Told(), **answers}
        self.asked = []
        self.closed = False

    def _answer(self, what, *asked):
        self.asked.append((what, *asked))
        answer = self.answers[what]
        if isinstance(answer, dict):
            answer = answer[asked[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ready(self, model, version):
        return self._answer("ready", model, version)

    def index(self):
        return self._answer("index")

    def metadata(self, model, version):
        return self._answer("metadata", model, version)

    def config(self, model, version):
        return self._answer("config", model, version)

    def infer(self, model, version, inputs, forward):
        return self._answer("infer", model, version, inputs)

    def close(self):
        self.closed = True


@pytest.fixture
def said():
    return []


@pytest.fixture
def servers(monkeypatch):
    """What answers by which scheme; all that was tried is in the list."""
    by_scheme, tried = {}, []

    def client(address, timeout_s, _access):
        assert timeout_s == TIMEOUT_S
        tried.append(address.url)
        made = by_scheme.get(address.scheme, Unreachable("nobody"))
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(discover, "Client", client)
    return by_scheme, tried


@pytest.mark.parametrize(
    "ready", [True, False, ModelNotFound("none"), ModelFailed("odd"), Unsupported("no")]
)
def test_any_answer_says_that_it_speaks(servers, ready):
    by_scheme, tried = servers
    by_scheme["http"] = Server(ready=ready)
    assert connect("h:1") is by_scheme["http"]
    assert tried == ["http://h:1"]
    assert by_scheme["http"].asked == [("ready", "", "")]
    assert not by_scheme["http"].closed


@pytest.mark.parametrize("ready", [NoReplica("gone"), ModelNotReady("starts")])
def test_grpc_is_tried_where_http_is_not_spoken(servers, ready):
    by_scheme, tried = servers
    by_scheme.update(http=Server(ready=ready), grpc=Server())
    assert connect("[::1]:8001") is by_scheme["grpc"]
    assert tried == ["http://[::1]:8001", "grpc://[::1]:8001"]
    assert by_scheme["http"].closed


def test_nobody_there_is_told_with_both_protocols(servers):
    with pytest.raises(NoReplica) as told:
        connect("h:1")
    assert told.value.message == (
        "nothing at h:1 speaks the Open Inference Protocol, neither HTTP nor gRPC; "
        "start that server, or correct --upstream"
    )


@pytest.mark.parametrize("error", [ConfigError("no such file"), UpstreamDenied("no")])
def test_what_another_protocol_would_not_mend_ends_it(servers, error):
    by_scheme, tried = servers
    by_scheme.update(http=error, grpc=Server())
    with pytest.raises(type(error)):
        connect("h:1")
    assert tried == ["http://h:1"]


def test_a_url_says_how_to_speak(servers):
    by_scheme, tried = servers
    by_scheme["grpc"] = Server()
    assert connect("grpc://h") is by_scheme["grpc"]
    with pytest.raises(Unreachable):
        connect("http://h:7")
    assert tried == ["grpc://h:8001", "http://h:7"]


@pytest.mark.parametrize(
    "upstream", ["h", "h:", "", ":1", "h:x", "h:1/x", "h:99999", "h:²", "h:-1"]
)
def test_what_is_no_address(servers, upstream):
    with pytest.raises(ConfigError, match=r"--upstream needs HOST:PORT|is no address"):
        connect(upstream)
    assert servers[1] == []


def listed(*models, wanted=(), tell=print):
    return list_models(Server(index=[Listed(*model) for model in models]), wanted, tell)


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (("2", "10", "9"), "10"),
        (("v2", "1"), "1"),
        (("", "0"), "0"),
        (("v1", "v2"), "v1"),
        (("1", "01"), "1"),
    ],
)
def test_the_newest_version_of_each_model(versions, newest):
    got = listed(*[("m", version) for version in versions], ("a", "1"))
    assert got == [Listed("a", "1"), Listed("m", newest)]


@pytest.mark.parametrize("state", ["", "READY", "State.READY"])
def test_ready_is_written_in_several_ways(state):
    assert listed(("m", "1", state)) == [Listed("m", "1", state)]


def test_what_is_not_ready_is_left_out_and_told(said):
    got = listed(
        ("a", "1", "UNAVAILABLE", "no memory"),
        ("b", "1", "x.LOADING"),
        ("c", "2", "UNAVAILABLE"),
        ("c", "1", "READY"),
        tell=said.append,
    )
    assert got == [Listed("c", "1", "READY")]
    assert said == [
        "a: left out, it is not ready there: no memory",
        "b: left out, it is not ready there",
        "c: left out, it is not ready there",
    ]


def test_only_wanted_models(said):
    got = listed(("a", "1"), ("b", "1", "UNAVAILABLE"), ("c",), wanted=["c"], tell=said.append)
    assert got == [Listed("c")]
    assert said == []
    with pytest.raises(ConfigError, match="http://h:1 has no model 'x'"):
        listed(("a", "1"), wanted=["z", "a", "x"])


def test_a_server_without_index_needs_names():
    server = Server(index=Unsupported("no index"))
    assert list_models(server, ["b", "a"], print) == [Listed("b"), Listed("a")]
    with pytest.raises(ConfigError, match="has no index of its models; name them with --model"):
        list_models(server, [], print)
    with pytest.raises(UpstreamDenied):
        list_models(Server(index=UpstreamDenied("no")), ["a"], print)


@pytest.mark.parametrize(
    ("in_index", "told", "version"),
    [
        ("3", ("9",), "3"),
        ("", ("2", "10"), "10"),
        ("", ("v1", "1"), "1"),
        ("", ("v1",), "v1"),
        ("", (), ""),
    ],
)
def test_the_version_of_the_index_counts_first(in_index, told, version):
    server = Server(metadata=metadata(*told))
    found = look_at(server, Listed("m", in_index), None)
    assert (found.name, found.version, found.told, found.answered) == ("m", version, Told(), None)
    assert [one[0] for one in server.asked] == ["metadata", "config"]


def test_triton_s_configuration_need_not_be_there():
    assert look_at(Server(config=Unsupported("no")), Listed("m"), None).told is None


def test_an_example_is_run_once():
    x = Tensor("x", "FP32", (1,), np.ones(1, np.float32))
    server = Server(infer=Inferred([x], {}))
    found = look_at(server, Listed("m", "2"), InferRequest("m", "", "id", (x,)))
    assert found.answered == (x,)
    assert server.asked[-1] == ("infer", "m", "", (x,))
    with pytest.raises(ModelFailed):
        look_at(Server(infer=ModelFailed("no")), Listed("m"), InferRequest("m", "", "id", (x,)))


def test_models_that_cannot_be_looked_at_are_left_out_and_told(said):
    answers = {"a": ModelNotFound("gone"), "b": metadata("1"), "c": VigilError("odd\n")}
    server = Server(index=[Listed(name) for name in "cba"], metadata=answers)
    (found,) = look_around(server, [], {}, said.append)
    assert (found.name, found.version) == ("b", "1")
    assert said == ["a: left out, it is not there: gone", "c: left out: odd\\n"]


def test_an_example_must_be_for_a_model(said):
    with pytest.raises(ConfigError, match="--example: http://h:1 has no model 'y'"):
        look_around(Server(index=[Listed("m")]), [], {"z": None, "m": None, "y": None}, print)


@pytest.mark.parametrize("odd", ["²", "9" * 5000, "٣"])
def test_versions_may_be_anything(odd):
    assert listed(("m", odd), ("m", "1")) == [Listed("m", "1")]
    assert look_at(Server(metadata=metadata(odd, "1")), Listed("m"), None).version == "1"
