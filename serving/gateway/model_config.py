"""The `model_configuration` extension: a model in the words that Triton's tools read."""

from __future__ import annotations

import msgspec

from serving.config import InputSpec, OutputSpec
from serving.dataplane.handler import DataPlane
from serving.dataplane.pace import DEFAULT_MAX_BATCH_ROWS
from serving.gateway.metadata import BACKEND, PLATFORM


class ConfigInput(msgspec.Struct, frozen=True):
    """An input; `dims` are without the row axis."""

    name: str
    data_type: str
    dims: list[int]
    optional: bool


class ConfigOutput(msgspec.Struct, frozen=True):
    """An output; `dims` are without the row axis."""

    name: str
    data_type: str
    dims: list[int]


class DynamicBatching(msgspec.Struct, frozen=True):
    """How the queue is worked off."""

    max_queue_delay_microseconds: int


class TritonConfig(msgspec.Struct, frozen=True):
    """What tools ask of a model's configuration; `max_batch_size` is in rows."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfigInput]
    output: list[ConfigOutput]
    dynamic_batching: DynamicBatching


def model_config(plane: DataPlane, name: str, version: str) -> TritonConfig:
    """Describe a model.

    Raises:
        ModelNotFound, VersionNotFound: it is not served.
    """
    entry = plane.resolve(name, version)
    config = entry.config
    batching = config.batching
    return TritonConfig(
        entry.name,
        PLATFORM[config.format],
        BACKEND[config.format],
        (batching.max_batch_size or DEFAULT_MAX_BATCH_ROWS) if entry.row_axis else 0,
        # A sensitive input is for the monitors: requests may leave it out.
        [
            ConfigInput(spec.name, _data_type(spec), spec.shape[1:], spec.sensitive)
            for spec in config.inputs
        ],
        [ConfigOutput(spec.name, _data_type(spec), spec.shape[1:]) for spec in config.outputs],
        DynamicBatching(batching.max_queue_delay_us),
    )


def _data_type(spec: InputSpec | OutputSpec) -> str:
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
