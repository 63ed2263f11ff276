"""A new format is one new file and one entry in the list."""

import asyncio
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.channel.messages.directory import Directory, Member
from serving.config import ConfigError, ModelConfig, parse
from serving.config.formats import listed
from serving.control.served_model import served_model
from serving.dataplane.handler import DataPlane
from serving.gateway.metadata import model_metadata
from serving.models.convert import convert_pickle
from serving.models.formats.libraries import import_before_fork
from serving.models.formats.loader import load
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelRepository
from serving.models.repository.manifest import write_manifest
from serving.protocol.messages import InferRequest, Tensor
from serving.replica.role import make_replica

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def toy(monkeypatch):
    """The module of a toy format, which is listed."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "testdata")
    module = importlib.import_module("toy_format")
    monkeypatch.setattr(listed, "FORMATS", (*listed.FORMATS, module.DESCRIPTOR))
    yield module
    sys.modules.pop("toy_format", None)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model of the toy format, whose `model.yaml` says no more than that."""
    folder = tmp_path / "models" / "tripled"
    (folder / "1").mkdir(parents=True)
    (folder / "model.yaml").write_text("format: toy")
    (folder / "1" / "model.toy").write_text(json.dumps({"factor": 3, "columns": 3}))
    write_manifest(folder / "1", ["model.toy"])
    return folder


def entry(folder):
    return ModelRepository(folder.parent).get(folder.name)


def test_it_is_no_format_before_it_is_listed(folder):
    with pytest.raises(ConfigError, match=r"format: Input should be 'safetensors', .*'remote'$"):
        entry(folder)


def test_the_configuration_goes_by_it(toy):
    with pytest.raises(ConfigError, match=r"'remote' or 'toy'$"):
        parse(ModelConfig, {"format": "ball"}, "m")
    assert parse(ModelConfig, {"format": "toy"}, "m").inputs == []
    for more, says in (
        ({"factory": "net:build"}, "format toy has no `factory`"),
        ({"compile": "default"}, "format toy cannot be compiled"),
        ({"precision": "bf16"}, "format toy computes in the datatypes of its graph"),
        ({"remote": {"url": "grpc://h:1"}}, "section `remote`, and no other format has it"),
        (
            {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1], "method": "predict"}]},
            "because format toy gives outputs by their names",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            parse(ModelConfig, {"format": "toy", **more}, "m")


def test_the_repository_recognises_and_completes_it(toy, folder):
    config = entry(folder).config
    assert [(spec.name, spec.shape) for spec in config.inputs] == [("x", [-1, 3])]
    assert [(spec.name, spec.shape) for spec in config.outputs] == [("y", [-1, 3])]
    (folder / "1" / "model.toy").write_text("no JSON")
    with pytest.raises(ConfigError, match=r"model\.toy: is no toy$"):
        entry(folder)
    (folder / "1" / "model.toy").unlink()
    with pytest.raises(ConfigError, match=r"model\.toy: missing; format toy keeps weights there"):
        entry(folder)


def test_it_is_loaded_and_prepared(toy, folder):
    model = prepare(entry(folder), "cpu").model
    np.testing.assert_array_equal(model.predict({"x": X})["y"], 3 * X)


def test_without_its_library_the_extra_is_named(toy, folder, monkeypatch):
    found = entry(folder)
    monkeypatch.setitem(sys.modules, "toy_format", None)
    with pytest.raises(ConfigError) as caught:
        load(found, "cpu")
    assert caught.value.message == ("model 'tripled': format toy needs a toy; install vigil[toys]")
    import_before_fork("toy")  # leaves that to whoever loads a model


def test_a_file_is_converted_to_it(toy, folder, tmp_path):
    (tmp_path / "old.plaything").write_text("5 3")
    into = folder / "2"
    wrote, note = convert_pickle(tmp_path / "old.plaything", into, trust_code=True)
    assert wrote.startswith(f"wrote {into / 'model.toy'} and ")
    assert note == "serve it with `format: toy`"
    np.testing.assert_array_equal(load(entry(folder), "cpu").predict({"x": X})["y"], 5 * X)
    with pytest.raises(ConfigError, match=r"\.pt, \.pth, .*, \.plaything, which tells"):
        next(convert_pickle(tmp_path / "old.ball", into, trust_code=True))


def test_of_the_formats_of_torch_an_exported_one_is_a_graph(
    make_exported_model, make_factory_model
):
    assert load(make_exported_model(torch.nn.Linear(3, 2)), "cpu")._is_graph
    assert not load(make_factory_model(), "cpu")._is_graph


async def test_a_replica_serves_it(toy, folder, registry, address, tmp_path, eventually):
    served = served_model(entry(folder))
    at = f"unix:{tmp_path}/r.sock"
    role = make_replica(served, "r-0", at, address)
    role.load()
    await role.start()
    plane = DataPlane("g")
    member = Member("replica", "r-0", 1, at, "tripled", "1", 1, revision=served.revision)
    plane.apply(Directory(1, (served,), (member,)))
    try:
        await eventually(lambda: plane.ready()[0])
        assert model_metadata(plane, "tripled", "").platform == "toy_json"
        request = InferRequest("tripled", "", "id", (Tensor("x", "FP32", X.shape, X),))
        async with asyncio.timeout(60):
            answer = await plane.infer(request)
        np.testing.assert_array_equal(answer.outputs[0].data, 3 * X)
    finally:
        plane.close()
        await role.stop()
