"""What `vigil watch` leaves in a folder, of a server that answers as a test says."""

from __future__ import annotations

import pytest
import yaml

from serving.config import ConfigError, ModelConfig, RemoteCredentials, RemoteTls
from serving.errors import InvalidInput, ModelNotFound, NoReplica
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.remote.address import Address
from serving.remote.discovery import watch
from serving.remote.discovery.watch import read_examples, write_repository
from serving.remote.wire import Inferred, Listed

EXAMPLE = b'{"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1,2,3,4,5,6]}]}'


class Server:
    """Serves models of one input `x` and one output `y`; `bare` ones do not declare them."""

    address = Address("grpc", "h", 1)

    def __init__(self, *models, bare=(), refuses=None):
        self.models, self.bare, self.refuses = models, bare, refuses
        self.closed = False

    def index(self):
        return [Listed(name, version, "READY") for name, version in self.models]

    def metadata(self, name, version):
        if isinstance(self.refuses, Exception):
            raise self.refuses
        shape = None if name in self.bare else (-1, 3)
        tensors = [() if shape is None else (TensorMetadata(t, "FP32", shape),) for t in "xy"]
        return ModelMetadata(name, (), "", *tensors)

    def config(self, name, version):
        raise ModelNotFound("no such extension")

    def infer(self, name, version, inputs, forward):
        return Inferred((Tensor("y", "FP32", (2, 1), None),), {})

    def close(self):
        self.closed = True


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """Watches a server; returns the names and what was told."""

    def watching(server, wanted=(), examples=None, *, keep=False, folder=None, **access):
        said = []

        def connect(upstream, credentials, tls):
            assert (upstream, credentials, tls) == (
                "h:1", access.get("credentials"), access.get("tls")
            )  # fmt: skip
            return server

        monkeypatch.setattr(watch, "connect", connect)
        names = write_repository(
            "h:1", folder or tmp_path, wanted, examples or {}, said.append, keep=keep, **access
        )
        assert server.closed
        return names, said

    return watching


@pytest.fixture
def written(tmp_path):
    def read(name="m"):
        return yaml.safe_load((tmp_path / name / "model.yaml").read_text())

    return read


def versions(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


# -- --example ------------------------------------------------------------------------------------


def test_examples_are_read_by_model(tmp_path):
    file = tmp_path / "a=b.json"  # only the first `=` separates
    file.write_bytes(b"\x00{}")
    assert read_examples([f"m={file}", f"n={file}"]) == {"m": b"\x00{}", "n": b"\x00{}"}
    assert read_examples([]) == {}


@pytest.mark.parametrize("given", ["m", "", "=file", "=", "x" * 1000])
def test_an_example_names_a_model_and_a_file(given):
    with pytest.raises(ConfigError) as told:
        read_examples([given])
    assert told.value.message == f"--example needs MODEL=FILE, not '{given[:200]}'"


@pytest.mark.parametrize(
    ("file", "why"), [("none.json", "No such file or directory"), (".", "Is a directory")]
)
def test_an_example_that_cannot_be_read(tmp_path, file, why):
    path = tmp_path / file
    with pytest.raises(ConfigError) as told:
        read_examples([f"m={path}"])
    assert told.value.message == f"{path}: {why}; --example names it"


def test_a_model_without_a_file_names_no_example():
    with pytest.raises(ConfigError, match="Is a directory; --example names it"):
        read_examples(["m="])


# -- the repository -------------------------------------------------------------------------------


def test_each_model_gets_a_file_that_can_be_served(watched, written, tmp_path):
    folder = tmp_path / "deep" / "er"
    names, said = watched(Server(("b", "1"), ("a", "7")), folder=folder)
    assert (names, said) == (["a", "b"], [])
    text = (folder / "a" / "model.yaml").read_text()
    assert text.startswith("# Written by `vigil watch`; to be edited and kept")
    made = yaml.safe_load(text)
    assert list(made)[:2] == ["format", "remote"]  # the order in which people read it
    assert ModelConfig.model_validate(made).remote.url == "grpc://h:1"
    assert (versions(folder / "a"), versions(folder / "b")) == (["7"], ["1"])
    assert not list(folder.rglob("example.json"))


def test_only_what_is_wanted_is_written_and_the_rest_left_alone(watched, tmp_path):
    (tmp_path / "other").mkdir()
    names, _ = watched(Server(("a", "1"), ("b", "1")), ["b"])
    assert names == ["b"]
    assert versions(tmp_path) == ["b", "other"]
    assert not versions(tmp_path / "other")


def test_what_the_server_asks_of_its_callers_is_written_as_it_was_given(watched, written):
    watched(Server(("m", "1")))
    assert set(written()["remote"]) == {"url"}
    access = {
        "credentials": RemoteCredentials(env="TOKEN"),
        "tls": RemoteTls(ca_file="/ca.pem"),
    }
    watched(Server(("m", "1")), **access)
    remote = written()["remote"]
    assert remote["credentials"] == {"env": "TOKEN"}
    assert remote["tls"] == {"ca_file": "/ca.pem"}


def test_an_example_lies_beside_the_model_and_is_named_by_it(watched, written, tmp_path):
    names, _ = watched(Server(("m", "1"), ("n", "1"), bare=["m"]), examples={"m": EXAMPLE})
    assert names == ["m", "n"]
    assert (tmp_path / "m" / "example.json").read_bytes() == EXAMPLE
    assert written("m")["example"] == "example.json"
    assert written("m")["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]
    assert not (tmp_path / "n" / "example.json").exists()
    assert "example" not in written("n")


@pytest.mark.parametrize("example", [b"", b"{", b"{}", b"[]"])
def test_an_example_that_is_no_request_is_told_before_anybody_is_asked(monkeypatch, example):
    monkeypatch.setattr(watch, "connect", lambda *_: pytest.fail("asked"))
    with pytest.raises(InvalidInput):
        write_repository("h:1", None, [], {"m": example}, print, keep=False)


def test_what_cannot_be_served_leaves_the_others_alone(watched, tmp_path):
    names, said = watched(Server(("bare", "1"), ("m", "1"), bare=["bare"]))
    assert names == ["m"]
    (sentence,) = said
    assert sentence.startswith("bare: left out: its server does not tell its inputs and outputs; ")
    assert versions(tmp_path) == ["m"]


@pytest.mark.parametrize(
    ("server", "error", "message"),
    [
        (Server(), ConfigError, "grpc://h:1: has no model that could be served"),
        (Server(("m", "1"), bare=["m"]), ConfigError, "has no model that could be served"),
        (Server(("m", "1"), refuses=NoReplica("gone")), ConfigError, "has no model that"),
        (Server(("m", "1")), ConfigError, "has no model 'other'"),
    ],
)
def test_a_server_of_which_nothing_can_be_served(watched, server, error, message):
    wanted = ["other"] if "other" in message else []
    with pytest.raises(error, match=message):
        watched(server, wanted)
    assert server.closed


def test_a_fault_of_the_server_ends_its_connection(watched):
    server = Server(("m", "1"), refuses=RuntimeError("odd"))
    with pytest.raises(RuntimeError, match="odd"):
        watched(server)
    assert server.closed


# -- what is there already ------------------------------------------------------------------------


def test_a_file_is_kept_only_where_that_is_asked_for(watched, written, tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    path = tmp_path / "m" / "model.yaml"
    path.write_text("mine: 1")
    names, said = watched(Server(("m", "3")), examples={"m": EXAMPLE}, keep=True)
    assert names == ["m"]
    assert said == [f"m: {path} is kept as it is"]
    assert path.read_text() == "mine: 1"
    assert versions(tmp_path / "m") == ["1"]
    names, said = watched(Server(("m", "3")))
    assert (names, said) == (["m"], [])
    assert written()["format"] == "remote"


def test_to_keep_is_no_reason_not_to_write_what_is_missing(watched, written):
    assert watched(Server(("m", "3")), keep=True) == (["m"], [])
    assert written()["format"] == "remote"


def test_empty_folders_of_other_versions_go_and_everything_else_stays(watched, tmp_path):
    folder = tmp_path / "m"
    for name in ("1", "12", "0", "v2", "01", "1" * 19, "profile"):
        (folder / name).mkdir(parents=True)
    (folder / "12" / "notes").write_text("mine")
    (folder / "7").write_text("a file")
    watched(Server(("m", "3")))
    assert versions(folder) == sorted(["3", "12", "0", "v2", "01", "1" * 19, "profile"])
    assert (folder / "12" / "notes").read_text() == "mine"
    assert (folder / "7").is_file()
    watched(Server(("m", "3")))
    assert "3" in versions(folder)


def test_a_version_that_is_no_number_is_called_1(watched, tmp_path):
    _, said = watched(Server(("m", "v3")))
    assert versions(tmp_path / "m") == ["1"]
    assert said == ["m: its version 'v3' is called 1 here, where versions are numbers"]


# -- hostile names and folders --------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ["../x", "..", "/x", "a/b", "a\0", "x" * 300, "", " ", "é"])
def test_a_name_leads_nowhere_else(watched, tmp_path, name, keep):
    inner = tmp_path / "models"
    mine = [there / "model.yaml" for there in (inner, tmp_path, tmp_path / "x", inner / "a" / "b")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    server = Server((name, "1"), ("m", "1"))
    names, said = watched(server, examples={name: EXAMPLE}, keep=keep, folder=inner)
    assert names == ["m"]
    (sentence,) = said
    assert sentence.startswith(f"{name}: left out: its name cannot be one here: use letters, ")
    assert not list(tmp_path.rglob("example.json"))
    assert [path.read_text() for path in mine] == ["mine"] * 4


def test_a_folder_that_cannot_be_written_to_is_one_sentence(watched, tmp_path):
    folder = tmp_path / "file"
    folder.write_text("")
    server = Server(("m", "1"))
    with pytest.raises(ConfigError) as told:
        watched(server, folder=folder)
    assert told.value.message == (
        f"{folder / 'm'}: Not a directory; a model that is watched is written there"
    )
    assert server.closed


def test_a_file_in_the_place_of_the_version_is_one_sentence(watched, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "3").write_text("")
    with pytest.raises(ConfigError, match=r"m/3: File exists; a model that is watched"):
        watched(Server(("m", "3")))
