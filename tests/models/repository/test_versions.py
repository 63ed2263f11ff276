from pathlib import Path

import pytest

from serving.config import ConfigError, ModelConfig
from serving.models.repository.versions import (
    found_in,
    no_folders,
    no_version,
    unusable,
    wanted,
)

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


def config(**more) -> ModelConfig:
    return ModelConfig.model_validate({"format": "onnx", **more})


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("1", "2", "10", "notes", "007"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("no folder")
    return tmp_path


def test_versions_are_numbers_in_their_order(folder):
    assert found_in(folder) == [1, 2, 10]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [("latest", ["10"]), ("all", ["1", "2", "10"]), ([10, 3, 3], ["3", "10"])],
)
def test_the_configuration_says_which_serve(folder, versions, expected):
    assert wanted(folder, config(versions=versions)) == expected


def test_of_a_model_elsewhere_nothing_has_to_lie_here(tmp_path):
    elsewhere = config(format="remote", remote={"url": "grpc://h:1"}, inputs=[X], outputs=[X])
    assert wanted(tmp_path, elsewhere) == ["1"]
    with pytest.raises(ConfigError, match=r"no version; put the weights into .*/1$"):
        wanted(tmp_path, config())
    (tmp_path / "2").write_text("no folder")
    assert no_folders(tmp_path, elsewhere, ["1"]) == []


def test_a_newer_version_that_is_no_folder_is_told(folder):
    (broken,) = no_folders(folder, config(), ["10"])
    assert (broken.version, broken.required) == ("11", True)
    assert broken.reason == f"{folder / '11'}: {unusable(folder / '11')}"
    assert no_folders(folder, config(versions=[1]), ["1"]) == []
    (folder / "5").write_text("")
    found = no_folders(folder, config(versions="all"), ["1", "2", "10"])
    assert [each.version for each in found] == ["5", "11"]


def test_what_keeps_a_folder_from_being_a_version(tmp_path):
    for name, says in (
        ("007", "without zeros before it"),
        ("1" * 19, "at most 18 digits"),
        ("v1", "a whole number from 1 on"),
    ):
        (tmp_path / name).mkdir()
        assert says in unusable(tmp_path / name)
    (tmp_path / "3").symlink_to(tmp_path / "nowhere")
    assert "leads to nothing" in unusable(tmp_path / "3")
    (tmp_path / "4").mkdir()
    assert unusable(tmp_path / "4") == unusable(tmp_path / "5") == ""


@pytest.mark.parametrize("name", ["v1", "1.0", "0"])
def test_a_folder_that_was_meant_as_a_version_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    assert str(tmp_path / name) in no_version(tmp_path).message
