"""The batch as another server wants it, and its answer as the gateway wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from serving.channel.messages.inference import ResponseParameters
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.errors import InvalidInput, ModelFailed, listed
from serving.protocol.messages import Parameters, Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.remote.wire import Inferred
from serving.telemetry.logs.causes import Cause

LONGEST_VERSION: Final = 128
"""Characters of a version; a longer one is refused, since cut short it might be another's."""


def to_upstream(config: ModelConfig, inputs: Mapping[str, np.ndarray]) -> list[Tensor]:
    """Return the model's inputs as tensors; without row axis `inputs` hold exactly one row.

    Raises:
        InvalidInput: an input is missing.
    """
    assert config.remote is not None
    tensors = []
    for spec in config.inputs:
        if spec.sensitive:
            continue
        if spec.name not in inputs:
            raise InvalidInput(f"the model needs the input '{spec.name}'")
        array = inputs[spec.name]
        shape = array.shape if config.remote.row_axis else array.shape[1:]
        tensors.append(Tensor(spec.name, spec.datatype, shape, array))
    return tensors


def from_upstream(
    name: str, config: ModelConfig, tensors: Sequence[Tensor], rows: int
) -> dict[str, np.ndarray]:
    """Return the declared outputs, [rows, ...] each, after checking them.

    Other axes are as the server gave them: some add one, and clients know it so.

    Raises:
        ModelFailed: one is missing, or is not what `model.yaml` declares.
    """
    assert config.remote is not None
    given = {tensor.name: tensor for tensor in tensors}
    outputs = {}
    for spec in config.outputs:
        tensor = given.get(spec.name)
        if tensor is None:
            raise _wrong(
                name,
                f"answered {listed(given, 'nothing')}, model.yaml declares output '{spec.name}'",
                f"answered no output '{spec.name}', which model.yaml declares",
            )
        data = tensor.data if config.remote.row_axis else tensor.data[None]
        if tensor.datatype != spec.datatype:
            raise _wrong(
                name,
                f"answered output '{spec.name}' as {tensor.datatype}, model.yaml declares "
                f"{spec.datatype}",
                f"answered output '{spec.name}' with another datatype than model.yaml declares",
            )
        if data.shape[:1] != (rows,):
            raise _wrong(
                name,
                f"answered output '{spec.name}' with shape {list(tensor.shape)} for {rows} rows; "
                f"if its first axis is no row, set remote.row_axis: false",
            )
        outputs[spec.name] = data
    return outputs


def version_of(name: str, answer: Inferred) -> str:
    """Return the version that an answer is of; empty where the server tells none.

    Raises:
        ModelFailed: no version is written like that.
    """
    version = answer.version
    if version and (len(version) > LONGEST_VERSION or not version.isprintable()):
        raise _wrong(
            name,
            f"answered as model_version {version[:40]!r}, which is longer than {LONGEST_VERSION} "
            "characters or not printable",
            "answered with a model_version that is too long or not printable",
        )
    return version


def response_parameters_of(
    answer: Inferred, version: str, *, alone: bool
) -> ResponseParameters | None:
    """Return what is passed on of an answer beside its outputs; None when there is nothing.

    `version` is that of the answer where it is not the served one. Where one request upstream had
    the rows of several, nobody knows whom a parameter is about: then only `content_type` is kept,
    which is about none of the rows.
    """
    parameters = _passed_on(answer.parameters, alone)
    outputs = {t.name: kept for t in answer.tensors if (kept := _passed_on(t.parameters, alone))}
    return (
        ResponseParameters(parameters, outputs, version)
        if parameters or outputs or version
        else None
    )


def _passed_on(parameters: Parameters | None, alone: bool) -> dict[str, Any]:
    return {
        name: value
        for name, value in (parameters or {}).items()
        if (alone or name == "content_type")
        # Those say how that server wrote its answer; ours may be written otherwise.
        and (name, value) != ("content_type", "base64")
        and name != "binary_data_size"
        and not name.startswith("shared_memory_")
    }


def _wrong(name: str, what: str, told: str = "") -> ModelFailed:
    """Return an error; `told` says the same without what the server answered, for the log."""
    server = f"the upstream server of model '{name}'"
    error = ModelFailed(f"{server} {what}")
    error.cause = Cause("upstream answer", told=f"{server} {told}") if told else None
    return error


def check_metadata(name: str, config: ModelConfig, told: ModelMetadata) -> None:
    """Compare what a server tells of a model with `model.yaml`; where it tells nothing, pass.

    Raises:
        ModelFailed: name or datatype of a tensor is another.
    """
    inputs = [spec for spec in config.inputs if not spec.sensitive]
    pairs: tuple[tuple[str, Sequence[InputSpec | OutputSpec], Sequence[TensorMetadata]], ...] = (
        ("input", inputs, told.inputs),
        ("output", config.outputs, told.outputs),
    )
    for what, declared, known in pairs:
        types = {tensor.name: tensor.datatype for tensor in known}
        for spec in declared if types else ():
            if types.get(spec.name) != spec.datatype:
                has = ", ".join(f"{other} {datatype}" for other, datatype in types.items())
                raise _wrong(
                    name,
                    f"has no {what} '{spec.name}' of {spec.datatype}; it tells of {has}: correct "
                    f"model.yaml",
                )
