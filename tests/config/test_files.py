"""Where configurations are read from and how the command line changes them.

The sentences for what is wrong in them are in `test_wording.py`.
"""

import os
from pathlib import Path

import pytest

from serving.config import ConfigError, insists, load_model, load_server, load_yaml, parse
from serving.config.server import ServerConfig

MODEL = """
format: remote
remote: {url: 'grpc://h:1'}
inputs: [{name: x, datatype: FP32, shape: [-1]}]
outputs: [{name: y, datatype: FP32, shape: [-1]}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vigil.yaml"


def test_nothing_given_is_the_defaults(file):
    assert parse(ServerConfig, None, "nowhere") == load_server(None, {}) == ServerConfig()
    for text in ("", "# a remark\n", "null"):
        file.write_text(text)
        assert load_server(file, {}).listen == ServerConfig().listen


def test_relative_paths_of_the_file_are_relative_to_it(file):
    file.write_text("models: mine\ndata_dir: ../kept")
    config = load_server(file, {})
    assert config.models == file.parent / "mine"
    assert config.data_dir == file.parent / "../kept"
    file.write_text("models: /srv/models")
    assert load_server(file, {}).models == Path("/srv/models")


@pytest.mark.parametrize(
    ("url", "found"),
    [("log", "{}/log"), ("/srv/log", "/srv/log"), ("s3://bucket/log", "s3://bucket/log"),
     ("file:///srv/log", "file:///srv/log")],
)  # fmt: skip
def test_a_relative_path_of_the_log_is_relative_to_the_file(file, url, found):
    file.write_text(f"log: {{url: {url}}}")
    assert load_server(file, {}).log.url == found.format(file.parent)


@pytest.mark.parametrize("log", ["{sample: 0.5}", "{}", "{url: null}"])
def test_a_log_without_a_place_has_none(file, log):
    file.write_text(f"log: {log}")
    assert load_server(file, {}).log.url is None
    file.write_text("log: {url: ''}")
    with pytest.raises(ConfigError, match="is no place"):
        load_server(file, {})


def test_relative_paths_of_the_command_line_are_left(file):
    file.write_text("models: mine")
    assert load_server(file, {"models": Path("other")}).models == Path("other")


def test_overrides_change_single_keys_of_a_section(file):
    file.write_text("listen: {http_port: 1234, host: 127.0.0.1}")
    listen = load_server(file, {"listen": {"http_port": 4321}}).listen
    assert (listen.http_port, listen.host) == (4321, "127.0.0.1")
    assert load_server(None, {"listen": {"http_port": 4321}}).listen.http_port == 4321
    file.write_text("listen:")
    assert load_server(file, {"listen": {"http_port": 4321}}).listen.http_port == 4321
    assert load_server(None, {"engine": "local"}).engine == "local"


@pytest.mark.parametrize("section", ["8000", "0", "''", "text", "[]", "[{http_port: 1}]", "false"])
def test_an_override_of_a_section_that_is_none_is_told_by_its_key(file, section):
    file.write_text(f"listen: {section}")
    with pytest.raises(ConfigError) as caught:
        load_server(file, {"listen": {"http_port": 4321}})
    assert caught.value.message == f"{file}: listen: must be a mapping of keys to values"


@pytest.mark.parametrize("text", ["1: 2", "null: 2", "2001-01-01: 2", "true: 2"])
def test_keys_that_are_no_text_are_refused(file, text):
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_server(file, {})


def test_a_wrong_override_is_told_by_its_source(file):
    with pytest.raises(ConfigError, match=r"^configuration: listen\.http_port: "):
        load_server(None, {"listen": {"http_port": "many"}})


@pytest.mark.parametrize("text", ["7", "text", "[1]"])
def test_a_file_must_be_a_mapping(file, text):
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_server(file, {})
    assert caught.value.message == f"{file}: must be a mapping of keys to values"


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_yaml(tmp_path / "none.yaml")
    assert caught.value.message == f"{tmp_path}/none.yaml: No such file or directory"
    with pytest.raises(ConfigError) as caught:
        load_yaml(tmp_path)
    assert caught.value.message == f"{tmp_path}: Is a directory"


def test_what_is_wrong_in_yaml_is_one_line_and_runs_nothing(file):
    file.write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not YAML: could not determine a constructor") as caught:
        load_yaml(file)
    assert "  " not in caught.value.message
    assert "\\n" not in caught.value.message


def test_a_model_is_read_from_its_folder(tmp_path):
    (tmp_path / "model.yaml").write_text(MODEL)
    assert load_model(tmp_path).outputs[0].name == "y"
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "model.yaml").symlink_to(tmp_path / "model.yaml")
    assert load_model(linked) == load_model(tmp_path)


def put_nothing(path: Path) -> None:
    """Leave the folder empty."""


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (put_nothing, "no such file; every folder among the models needs one"),
        (lambda path: path.symlink_to("nowhere"), "no such file; every folder among the models"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (os.mkfifo, "is no regular file"),
        (Path.mkdir, "is no regular file"),
    ],
    ids=["missing", "dangling", "circle", "device", "pipe", "folder"],
)
def test_a_model_is_read_from_a_regular_file_only(tmp_path, put, says):
    path = tmp_path / "model.yaml"
    put(path)
    with pytest.raises(ConfigError) as caught:
        load_model(tmp_path)
    assert caught.value.message.startswith(f"{path}: {says}")
    assert not insists(tmp_path)


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("required: true", True),
        ("required: true\nformat: unheard-of\nwings: 2", True),
        ("required: false", False),
        ("required: 'true'", False),
        ("required: 1", False),
        (MODEL, False),
        ("", False),
        ("[required]", False),
        ("required: true\na: [", False),
    ],
)
def test_only_a_model_that_says_so_itself_insists(tmp_path, text, required):
    (tmp_path / "model.yaml").write_text(text)
    assert insists(tmp_path) is required
