import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serving.config import ConfigError
from serving.models.repository.folder import ModelRepository, wrong_name


@pytest.fixture
def toy(make_factory_model) -> Path:
    return make_factory_model().directory.parent


def scan(toy: Path):
    repository = ModelRepository(toy.parent)
    return [entry for name in repository.names() for entry in repository.entries(name)]


def test_entry_tells_what_lies_on_disk(toy):
    (entry,) = scan(toy)
    assert (entry.name, entry.version, entry.directory) == ("toy", "1", toy / "1")
    assert entry.weights == toy / "1" / "model.safetensors"
    assert entry.example is None
    assert entry.config.factory == "net:build"


def test_latest_version_is_by_number_and_other_folders_are_no_versions(toy):
    shutil.copytree(toy / "1", toy / "2")
    shutil.copytree(toy / "1", toy / "10")
    for name in ("0", "011", "v12", "12.bak"):
        (toy / name).mkdir()
    assert [entry.version for entry in scan(toy)] == ["10"]


@pytest.mark.parametrize("name", ["a..b", "_x", "A-1.2_z", "0", "m" * 128])
def test_legal_names(toy, name):
    toy.rename(toy.parent / name)
    assert [entry.name for entry in scan(toy)] == [name]


@pytest.mark.parametrize("name", ["a b", "-x", "ü", "a:b", "m" * 129, "__pycache__"])
def test_illegal_names(toy, name):
    toy.rename(toy.parent / name)
    assert scan(toy) == []
    repository = ModelRepository(toy.parent)
    assert repository.misnamed() == [name]
    assert "cannot be a model's name" in wrong_name(repository.root, name)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2Jgone", "a\rb", "a\u202eb", "a\x85b"])
def test_what_a_terminal_would_obey_is_escaped(toy, name):
    toy.rename(toy.parent / name)
    (shown,) = ModelRepository(toy.parent).misnamed()
    assert shown == name.encode("unicode_escape").decode()
    assert wrong_name(toy.parent, name).isprintable()


def test_hidden_folders_and_files_are_skipped(toy):
    (toy.parent / ".building").mkdir()
    (toy.parent / "README.md").write_text("models")
    assert len(scan(toy)) == 1


def test_models_come_sorted(toy):
    for name in ("zebra", "ant"):
        shutil.copytree(toy, toy.parent / name)
    assert [entry.name for entry in scan(toy)] == ["ant", "toy", "zebra"]


def test_missing_root(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        ModelRepository(tmp_path / "nowhere").names()


def test_empty_root_holds_no_models(tmp_path):
    assert ModelRepository(tmp_path).names() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0", "/0: a version is a whole number from 1 on"),
        ("01", "/01: a version is a whole number from 1 on"),
        ("v1", "/v1: a version is a whole number from 1 on"),
        ("1.0", "/1.0: a version is a whole number from 1 on"),
        ("1" * 19, "1: a version has at most 18 digits"),
        ("9" * 200, "9: a version has at most 18 digits"),
        ("1 -> 1", "/1: is a symbolic link that leads to nothing"),
        ("3 -> gone", "/3: is a symbolic link that leads to nothing"),
        ("1 file", "/1: is no folder"),
        ("README.1", "no version; put the weights into"),
        ("2024.txt", "no version; put the weights into"),
    ],
)
def test_what_was_meant_for_a_version_is_told(toy, name, said):
    shutil.rmtree(toy / "1")
    link, _, target = name.partition(" -> ")
    if target:
        (toy / link).symlink_to(target)
    elif name.endswith((" file", ".1", ".txt")):
        (toy / name.removesuffix(" file")).write_text("weights")
    else:
        (toy / name).mkdir()
    with pytest.raises(ConfigError, match=re.escape(said)):
        scan(toy)


def test_a_version_that_is_named_and_is_no_folder(toy):
    config = yaml.safe_load((toy / "model.yaml").read_text())
    (toy / "model.yaml").write_text(yaml.safe_dump({**config, "versions": [1, 2, 3]}))
    (toy / "2").symlink_to("2")
    reasons = [each.reason for each in ModelRepository(toy.parent).survey("toy")[1]]
    assert "/2: is a symbolic link that leads to nothing" in reasons[0]
    assert "/3: no such folder" in reasons[1]


@pytest.mark.parametrize("versions", ["latest", "all"])
def test_a_newer_version_that_is_no_folder_is_told_beside_the_good_one(toy, versions):
    config = yaml.safe_load((toy / "model.yaml").read_text())
    (toy / "model.yaml").write_text(yaml.safe_dump({**config, "versions": versions}))
    (toy / "2").symlink_to("2")
    entries, broken = ModelRepository(toy.parent).survey("toy")
    assert [entry.version for entry in entries] == ["1"]
    assert [each.version for each in broken] == ["2"]
    assert "/2: is a symbolic link that leads to nothing" in broken[0].reason
    with pytest.raises(ConfigError, match="/2: is a symbolic link that leads to nothing"):
        scan(toy)


def test_an_earlier_version_that_is_no_folder_is_not_asked_for(toy):
    (toy / "1").rename(toy / "2")
    (toy / "1").symlink_to("gone")
    entries, broken = ModelRepository(toy.parent).survey("toy")
    assert [entry.version for entry in entries] == ["2"]
    assert not broken
    assert [entry.version for entry in scan(toy)] == ["2"]


def test_no_version(toy):
    shutil.rmtree(toy / "1")
    with pytest.raises(ConfigError, match="no version; put the weights into"):
        scan(toy)


def test_no_configuration(toy):
    (toy / "model.yaml").unlink()
    with pytest.raises(ConfigError, match=r"model\.yaml"):
        scan(toy)


def test_missing_weights(toy):
    (toy / "1" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors: missing"):
        scan(toy)


def test_example_is_read_and_must_exist(toy):
    config = toy / "model.yaml"
    config.write_text(config.read_text() + "example: example.json\n")
    with pytest.raises(ConfigError, match=r"example\.json: No such file"):
        scan(toy)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    example = json.dumps({"inputs": [tensor]}).encode()
    (toy / "example.json").write_bytes(example)
    assert scan(toy)[0].example == example
    for broken in (b'{"inputs": [', b"{}", b"\xff no message"):
        (toy / "example.json").write_bytes(broken)
        with pytest.raises(ConfigError, match=r"toy/example\.json: .*names it as `example`$"):
            scan(toy)


@pytest.mark.parametrize("name", ["../outside.json", "link.json", "/dev/zero", "1", "a\0b"])
def test_an_example_is_a_file_in_the_models_folder(toy, name):
    (toy.parent / "outside.json").write_text("{}")
    (toy / "link.json").symlink_to("../outside.json")
    config = toy / "model.yaml"
    config.write_text(config.read_text() + f"example: {json.dumps(name)}\n")
    says = "(lies outside the model's folder|is no regular file|is no path).*names it as `example`"
    with pytest.raises(ConfigError, match=says):
        scan(toy)


@pytest.mark.parametrize("name", ["other", "..", "", "a/b", "/tmp"])
def test_unknown_model(toy, name):
    with pytest.raises(ConfigError, match="holds no model"):
        ModelRepository(toy.parent).get(name)


def test_scanning_loads_no_heavy_library():
    code = (
        "import sys; import serving.models.repository.folder, serving.models.profile.files; "
        "print([m for m in ('torch', 'pandas', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["model.pkl", "weights.joblib"])
def test_a_pickle_is_not_served_and_the_conversion_is_named(toy, name):
    (toy / "1" / "model.safetensors").rename(toy / "1" / name)
    with pytest.raises(ConfigError, match=rf"`vigil convert .*{name}` converts it"):
        scan(toy)


@pytest.mark.parametrize("name", ["pickle", "joblib"])
def test_pickle_is_no_format(toy, name):
    config = toy / "model.yaml"
    config.write_text(config.read_text().replace("safetensors", name))
    with pytest.raises(ConfigError, match=rf"{name} is not served, .*`vigil convert FILE`"):
        scan(toy)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("latest", ["10"]), ("all", ["2", "9", "10"]), ([9, 2, 9], ["2", "9"])],
)
def test_the_versions_that_model_yaml_asks_for(toy, wanted, found):
    for version in ("2", "9", "10"):
        shutil.copytree(toy / "1", toy / version)
    shutil.rmtree(toy / "1")
    choose(toy, wanted)
    assert [entry.version for entry in scan(toy)] == found
    assert ModelRepository(toy.parent).get("toy").version == found[-1]


@pytest.mark.parametrize(("wanted", "words"), [([1, 7], "7: no such folder"), ([], "at least one")])
def test_versions_that_cannot_be_served(toy, wanted, words):
    choose(toy, wanted)
    with pytest.raises(ConfigError, match=words):
        scan(toy)


def choose(toy: Path, versions) -> None:
    config = yaml.safe_load((toy / "model.yaml").read_text())
    (toy / "model.yaml").write_text(yaml.safe_dump({**config, "versions": versions}))
