"""What clients are told of the server and its models, and when a model counts as ready."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

import pytest

from serving.errors import ModelNotFound, ModelNotReady, VersionNotFound
from serving.gateway.metadata import (
    EXTENSIONS,
    VERSION,
    model_metadata,
    require_ready,
    server_metadata,
    tensor_metadata,
)
from serving.protocol.metadata import ServerMetadata, TensorMetadata

# -- the server -------------------------------------------------------------------------------


async def test_the_server_has_the_name_of_its_configuration(serve: Any) -> None:
    plane = serve()
    assert server_metadata(plane) == ServerMetadata("vigil", VERSION, EXTENSIONS)
    plane.server_name = "mine"
    assert server_metadata(plane).name == "mine"
    assert sorted(set(EXTENSIONS)) == list(EXTENSIONS)


@pytest.mark.parametrize("installed", [True, False])
def test_a_checkout_that_is_not_installed_has_a_version_all_the_same(
    monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    def version(name: str) -> str:
        if not installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return f"{name} 7"

    monkeypatch.setattr(importlib.metadata, "version", version)
    spec = importlib.util.find_spec("serving.gateway.metadata")
    assert spec is not None
    assert spec.loader is not None
    another = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(another)
    assert ("vigil 7" if installed else "0") == another.VERSION


# -- models -----------------------------------------------------------------------------------


async def test_a_model_is_told_with_all_its_versions_or_the_one_that_is_named(serve: Any) -> None:
    plane = serve("9", "10")
    told = model_metadata(plane, "m", "")
    assert (told.name, told.versions, told.platform) == ("m", ("9", "10"), "pytorch_export")
    assert told.inputs == (TensorMetadata("x", "FP32", (-1, 2)),)
    assert told.outputs == (TensorMetadata("y", "FP32", (-1, 2)),)
    assert model_metadata(plane, "m", "9").versions == ("9",)


async def test_every_input_is_told_in_order_with_sensitive_ones_among_them(serve: Any) -> None:
    inputs = [
        {"name": "z", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "a", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "sex", "datatype": "INT64", "shape": [-1, 1], "sensitive": True},
    ]
    told = model_metadata(serve(inputs=inputs), "m", "")
    assert told.inputs == (
        TensorMetadata("z", "BYTES", (-1, 1)),
        TensorMetadata("a", "INT64", (-1, -1)),
        TensorMetadata("sex", "INT64", (-1, 1)),
    )


@pytest.mark.parametrize(
    ("declared", "row_axis", "told"),
    [
        ([-1], True, (-1, 1)),  # one value a row: tools take an input without dims for empty
        ([-1, 3], True, (-1, 3)),
        ([-1, -1], True, (-1, -1)),
        ([3], True, (3,)),  # one value for all rows
        ([], True, ()),
        ([-1, -1], False, (-1,)),  # no rows: the free axis is one of data
        ([-1], False, ()),
        ([-1, 3], False, (3,)),
    ],
)
async def test_the_shape_of_an_input(
    serve: Any, declared: list[int], row_axis: bool, told: tuple[int, ...]
) -> None:
    spec = {"name": "x", "datatype": "FP32", "shape": declared}
    others = [{"name": "rows", "datatype": "FP32", "shape": [-1, 2]}] if row_axis else []
    plane = serve(inputs=[spec, *others], batching={"row_axis": row_axis}, explain=None)
    assert model_metadata(plane, "m", "").inputs[0].shape == told


async def test_a_free_axis_of_an_input_without_rows_is_no_row(serve: Any) -> None:
    several = {"name": "x", "datatype": "FP32", "shape": [-1, -1], "rowless": True}
    rows = {"name": "rows", "datatype": "FP32", "shape": [-1, 2]}
    told = model_metadata(serve(inputs=[several, rows], explain=None), "m", "")
    assert told.inputs[0].shape == (-1,)


async def test_the_shape_of_an_output_is_the_model_s_own(serve: Any) -> None:
    one = {"name": "y", "datatype": "FP32", "shape": [-1]}
    assert model_metadata(serve(outputs=[one]), "m", "").outputs[0].shape == (-1,)
    plane = serve(outputs=[one], batching={"row_axis": False}, explain=None)
    assert model_metadata(plane, "m", "").outputs[0].shape == ()


async def test_a_raw_tensor_has_the_shape_of_the_wire(serve: Any) -> None:
    config = serve(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1]}]).resolve("m").config
    assert tensor_metadata(config, config.inputs[0]) == TensorMetadata("x", "FP32", (-1,))


@pytest.mark.parametrize("ask", [model_metadata, require_ready])
@pytest.mark.parametrize(
    ("name", "version", "error"),
    [("q", "", ModelNotFound), ("q", "1", ModelNotFound), ("m", "7", VersionNotFound)],
)
async def test_what_is_not_served(
    serve: Any, ask: Any, name: str, version: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(serve(), name, version)


# -- readiness --------------------------------------------------------------------------------


async def test_a_model_is_ready_while_a_replica_has_proven_itself(
    plane: Any, link: Any, serve: Any
) -> None:
    require_ready(plane, "m", "")
    require_ready(plane, "m", "1")
    link.open = False
    untried = serve()
    for one in (plane, untried):
        with pytest.raises(ModelNotReady) as told:
            require_ready(one, "m", "")
        problem = one.resolve("m").problem
        assert problem
        assert told.value.message == f"model 'm' is not ready: {problem}"
