"""What an instance begins with: models and what is wrong with others, and when a model is new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.channel.messages.directory import BrokenModel
from serving.config import ConfigError, InputSpec, ModelConfig, OutputSpec
from serving.control.served_model import config_of, inventory, served_model
from serving.models.repository.folder import ModelEntry


def config(width=2, **more):
    return ModelConfig(
        **{
            "format": "torch_export",
            "inputs": [InputSpec(name="x", datatype="FP32", shape=[-1, width])],
            "outputs": [OutputSpec(name="y", datatype="FP32", shape=[-1, 2])],
            **more,
        }
    )


@pytest.fixture
def put(tmp_path):
    """Puts a version of a model; returns its entry."""

    def entry(name="m", version="1", example=None, width=2, **more):
        folder = tmp_path / "models" / name / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pt2").write_text("weights")
        os.utime(folder / "model.pt2", (1, 1))
        return ModelEntry(name, version, folder, config(width, **more), example)

    return entry


class Repository:
    """Holds `entries`; `wrong` and `misnamed` are what is wrong; models have `before` versions."""

    root = Path("/models")
    log = None

    def __init__(self, *entries, wrong=(), misnamed=(), before=()):
        self.entries, self.wrong, self._misnamed, self.before = entries, wrong, misnamed, before
        self.asked = []

    def names(self):
        return sorted({each.name for each in (*self.entries, *self.wrong)})

    def misnamed(self):
        return list(self._misnamed)

    def survey(self, name):
        mine = [[each for each in kind if each.name == name] for kind in (self.entries, self.wrong)]
        return mine[0], mine[1]

    def earlier(self, name, version):
        self.asked.append((name, version))
        if isinstance(self.before, Exception):
            raise self.before
        return list(self.before)


# -- as the directory carries it ------------------------------------------------------------------


def test_an_entry_is_carried_whole(put, monkeypatch, tmp_path):
    entry = put(example=b"{}", required=False)
    served = served_model(entry)
    assert (served.name, served.version, served.example) == ("m", "1", b"{}")
    assert served.directory == str(tmp_path / "models" / "m" / "1")
    assert config_of(served) == entry.config
    monkeypatch.chdir(tmp_path)
    relative = ModelEntry("m", "1", Path("models/m/1"), entry.config, b"{}")
    assert served_model(relative) == served


def touched(folder, change):
    weights = folder / "model.pt2"
    if change == "time":
        os.utime(weights, ns=(1, 10**9 + 1))
    elif change == "size":
        weights.write_text("weight")
        os.utime(weights, (1, 1))
    elif change == "name":
        weights.rename(folder / "model2.pt2")
    elif change == "gone":
        weights.unlink()
    else:
        path = folder / change
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "change", ["time", "size", "name", "gone", "more", "deep/er", "a\nb", os.fsdecode(b"\xff")]
)
def test_another_file_is_another_revision(put, change):
    entry = put()
    before = served_model(entry).revision
    assert served_model(entry).revision == before
    touched(entry.directory, change)
    assert served_model(entry).revision != before


@pytest.mark.parametrize("change", ["__pycache__/net.pyc", "deep/__pycache__/a.pyc"])
def test_what_python_leaves_is_no_revision(put, change):
    entry = put()
    before = served_model(entry).revision
    touched(entry.directory, change)
    (entry.directory / "empty").mkdir()
    (entry.directory / "nowhere").symlink_to("/nowhere/at/all")
    assert served_model(entry).revision == before


def test_another_example_or_configuration_is_another_revision(put):
    entries = put(), put(example=b"{}"), put(example=b"[]"), put(width=3), put(required=False)
    revisions = [served_model(entry).revision for entry in entries]
    assert len(set(revisions)) == len(revisions)
    assert all(len(revision) == 12 and int(revision, 16) >= 0 for revision in revisions)


def test_which_versions_are_served_and_where_is_no_revision(put):
    one = served_model(put()).revision
    assert served_model(put(versions=[1, 2])).revision == one
    assert served_model(put(name="other", version="7")).revision == one


# -- the inventory --------------------------------------------------------------------------------


def test_all_models_or_only_those_that_are_meant(put):
    a, b = put("a"), put("b")
    repository = Repository(b, a)
    assert inventory(repository).models == (served_model(a), served_model(b))
    assert inventory(repository, ["b"]).models == (served_model(b),)
    assert inventory(repository, ["b", "a"]).models == (served_model(b), served_model(a))


def test_what_is_wrong_leaves_the_others_alone_and_is_logged(put, caplog):
    wrong = BrokenModel("a", "3", "no weights", True), BrokenModel("c", "", "no model.yaml")
    found = inventory(Repository(put("a"), put("b"), wrong=wrong))
    assert [served.name for served in found.models] == ["a", "b"]
    assert found.broken == wrong
    assert caplog.messages == ["model 'a' version 3: no weights", "model 'c': no model.yaml"]
    fields = [record.vigil_fields for record in caplog.records]
    assert fields[0] == {"model": "a", "version": "3"} | fields[0]
    assert "version" not in fields[1]


@pytest.mark.parametrize("required", [True, False])
def test_files_that_cannot_be_looked_at_are_that_versions_matter(put, monkeypatch, required):
    gone, there = put("a", required=required), put("b")
    stat = Path.stat

    def refused(path, **more):
        if path.name == "model.pt2" and path.parent == gone.directory:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refused)
    found = inventory(Repository(gone, there))
    assert [served.name for served in found.models] == ["b"]
    weights = gone.directory / "model.pt2"
    assert found.broken == (BrokenModel("a", "1", f"{weights}: Permission denied", required),)


def test_folders_that_can_be_no_models_are_told_unless_models_were_named(put):
    repository = Repository(put("a"), misnamed=["b c"])
    (broken,) = inventory(repository).broken
    assert (broken.name, broken.version, broken.required) == ("b c", "", False)
    assert broken.reason.startswith("/models/b c: 'b c' cannot be a model's name; use letters")
    assert inventory(repository, ["a"]).broken == ()


@pytest.mark.parametrize("wrong", [(), (BrokenModel("a", "", "odd"),)])
def test_an_instance_without_models_says_how_it_gets_some(caplog, wrong):
    assert inventory(Repository(wrong=wrong)).models == ()
    assert caplog.messages[-1] == (
        "/models: holds no model that can be served; put one there, and load it"
    )


def test_a_repository_that_cannot_be_read_is_no_inventory():
    repository = Repository()
    repository.names = lambda: (_ for _ in ()).throw(ConfigError("no such folder"))
    with pytest.raises(ConfigError, match="no such folder"):
        inventory(repository)


# -- a signature that changed while nobody was there ----------------------------------------------


def test_another_signature_than_the_version_before_is_logged(put, caplog):
    repository = Repository(put(version="9", width=3), before=[put(version="8"), put(version="7")])
    assert len(inventory(repository).models) == 1
    assert repository.asked == [("m", "9")]
    (record,) = caplog.records
    assert record.message.startswith(
        "model 'm' version 9 is served although its signature is not that of version 8: "
    )
    assert "x" in record.message
    assert record.vigil_fields["version"] == "9"


@pytest.mark.parametrize(
    "before", ["the same", "an older one differs", "none", "wrong", "versions are named"]
)
def test_nothing_is_said_where_no_signature_changed(put, caplog, before):
    more = {"versions": [9]} if before == "versions are named" else {}
    known = {
        "the same": [put(version="8")],
        "an older one differs": [put(version="8"), put(version="7", width=3)],
        "none": [],
        "wrong": ConfigError("model.yaml is gone"),
        "versions are named": [put(version="8", width=3)],
    }[before]
    repository = Repository(put(version="9", **more), before=known)
    found = inventory(repository)
    assert (len(found.models), found.broken, caplog.messages) == (1, (), [])


def test_where_the_file_says_the_signature_there_is_only_one(put, caplog):
    more = {"format": "safetensors", "factory": "net:build", "trust_code": True}
    repository = Repository(put(version="9", **more), before=[put(version="8", width=3)])
    inventory(repository)
    assert (repository.asked, caplog.messages) == ([], [])
