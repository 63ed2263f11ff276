"""The `model_configuration` extension: a model in the words that Triton's tools read."""

from __future__ import annotations

from typing import Final

import msgspec

from serving.config import Batching, InputSpec, OutputSpec, TensorFormat
from serving.dataplane.batching.batch_sizing import DEFAULT_MAX_BATCH_ROWS
from serving.dataplane.handler import DataPlane

LABEL_FILE: Final = "model.yaml"
"""Where class names stand in the model's folder; they are among the parameters as well."""


class Reshape(msgspec.Struct, frozen=True):
    """The shape without the row axis that the model sees, where `dims` are others."""

    shape: list[int]


class ConfigInput(msgspec.Struct, frozen=True):
    """An input; `dims` are without the row axis, and never empty."""

    name: str
    data_type: str
    format: TensorFormat
    dims: list[int]
    optional: bool
    reshape: Reshape | msgspec.UnsetType = msgspec.UNSET


class ConfigOutput(msgspec.Struct, frozen=True):
    """An output; `label_filename` is where its class names stand, empty when it has none."""

    name: str
    data_type: str
    dims: list[int]
    label_filename: str
    reshape: Reshape | msgspec.UnsetType = msgspec.UNSET


class QueuePolicy(msgspec.Struct, frozen=True):
    """What waits too long is refused; `max_queue_size` is in rows."""

    max_queue_size: int
    timeout_action: str = "REJECT"
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = True


class DynamicBatching(msgspec.Struct, frozen=True):
    """How the queue is worked off."""

    max_queue_delay_microseconds: int
    priority_levels: int
    default_priority_level: int
    default_queue_policy: QueuePolicy
    # No size is preferred, answers come as they are ready, and all levels share one queue.
    preferred_batch_size: list[int] = []
    preserve_ordering: bool = False
    priority_queue_policy: dict[int, QueuePolicy] = {}


class Parameter(msgspec.Struct, frozen=True):
    """The value of a model's parameter."""

    string_value: str


class TritonConfig(msgspec.Struct, frozen=True):
    """What tools ask of a model's configuration; `max_batch_size` is in rows."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfigInput]
    output: list[ConfigOutput]
    dynamic_batching: DynamicBatching
    parameters: dict[str, Parameter]


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
        config.descriptor.platform,
        config.descriptor.backend,
        (batching.max_batch_size or DEFAULT_MAX_BATCH_ROWS) if config.row_axis else 0,
        # A sensitive input is for the monitors: requests may leave it out.
        [
            ConfigInput(
                spec.name, _data_type(spec), spec.format, _dims(spec), spec.sensitive, _seen(spec)
            )
            for spec in config.inputs
        ],
        [
            ConfigOutput(
                spec.name,
                _data_type(spec),
                _dims(spec),
                LABEL_FILE if spec.classes else "",
                _seen(spec),
            )
            for spec in config.outputs
        ],
        _batching(batching),
        {
            f"{spec.name}.classes": Parameter(msgspec.json.encode(spec.classes).decode())
            for spec in config.outputs
            if spec.classes
        },
    )


def _batching(batching: Batching) -> DynamicBatching:
    levels = batching.priority_levels
    return DynamicBatching(
        batching.max_queue_delay_us,
        levels,
        batching.default_priority_level or levels,
        QueuePolicy(batching.max_queue_rows),
    )


def _dims(spec: InputSpec | OutputSpec) -> list[int]:
    """Return the dims without the row axis; [1] where nothing is left, which Triton forbids."""
    return spec.shape[1:] or [1]


def _seen(spec: InputSpec | OutputSpec) -> Reshape | msgspec.UnsetType:
    return msgspec.UNSET if spec.shape[1:] else Reshape([])


def _data_type(spec: InputSpec | OutputSpec) -> str:
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
