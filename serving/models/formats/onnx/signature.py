"""What an ONNX graph takes and gives, read from its protobuf without ONNX Runtime.

The file is walked from field to field and weights are skipped, so a hostile one costs neither
memory nor much time. Numbers of fields are those of `onnx.proto`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from serving.config import ConfigError
from serving.models.formats.onnx.zipmap import zipmap_labels
from serving.models.formats.protobuf_walk import Damaged, Field, Walk
from serving.models.signature import Signature, Tensor, is_features

_DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES",
    9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64",
}  # fmt: skip
"""OIP datatypes by ONNX's number. BF16 is left out: `onnx` does not serve it."""

# Old graphs list their weights among the inputs.
_MOST_VALUES: Final = 16 << 10
_MOST_DESCRIPTION: Final = 64 << 10

_MODEL_GRAPH: Final = 7
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_TENSOR_NAME: Final = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR: Final = 1
_ELEMENT, _SHAPE = 1, 2
_DIM: Final = 1
_DIM_VALUE: Final = 1


def read_onnx_signature(path: Path) -> Signature:
    """Read the inputs and outputs of the graph at `path`.

    Inputs that have a value in the file are weights and left out, and so are the features for
    guards, unless there is no other output. Axes without a size are free; the first size of an
    output is told as it stands, though exporters write there the rows of their example. The maps
    of a ZipMap are a table.

    Raises:
        ConfigError: the file is no graph, or one of too many parts.
    """
    try:
        with path.open("rb") as file:
            walk = Walk(file)
            graphs = list(walk.inside(walk.whole(), _MODEL_GRAPH))
            if not graphs:
                raise Damaged("it holds none")
            return _signature(walk, graphs)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except Damaged as error:
        raise ConfigError(f"{path}: is no ONNX graph: {error}") from None


def _signature(walk: Walk, graphs: list[Field]) -> Signature:
    inputs: dict[str, Tensor] = {}
    outputs: list[Tensor] = []
    for graph in graphs:
        for field in walk.inside(graph, _INPUT, _OUTPUT):
            tensor = _tensor(walk, field)
            if field.number == _INPUT:
                inputs[tensor.name] = tensor
            else:
                outputs.append(tensor)
            if len(inputs) + len(outputs) > _MOST_VALUES:
                raise Damaged("it has too many inputs and outputs")
    for graph in graphs:
        for weight in walk.inside(graph, _INITIALIZER):
            for name in walk.inside(weight, _TENSOR_NAME):
                inputs.pop(walk.text(name), None)
    return Signature(list(inputs.values()), _outputs(walk, outputs), output_rows_told=False)


def _outputs(walk: Walk, found: list[Tensor]) -> list[Tensor]:
    served = [tensor for tensor in found if not is_features(tensor)] or found
    maps: dict[str, Tensor] = {}
    if any(tensor.datatype is None for tensor in served):
        maps = {
            name: Tensor(name, "FP32", [None, len(labels)], {"classes": [str(x) for x in labels]})
            for name, labels in zipmap_labels(walk).items()
            if labels
        }
    return [maps.get(tensor.name, tensor) for tensor in served]


def _tensor(walk: Walk, value: Field) -> Tensor:
    if value.end - value.start > _MOST_DESCRIPTION:
        raise Damaged("an input or output has a description that is too long")
    name, datatype = "", None
    shape: list[int | None] | None = None
    for field in walk.inside(value, _VALUE_NAME, _VALUE_TYPE):
        if field.number == _VALUE_NAME:
            name = walk.text(field)
            continue
        for tensor in walk.inside(field, _TYPE_TENSOR):
            for part in walk.inside(tensor, _ELEMENT, _SHAPE):
                if part.number == _ELEMENT:
                    datatype = _DATATYPES.get(part.value or 0)
                else:
                    shape = [_size(walk, axis) for axis in walk.inside(part, _DIM)]
    return Tensor(name, datatype, shape)


def _size(walk: Walk, axis: Field) -> int | None:
    for field in walk.inside(axis, _DIM_VALUE):
        # Some exporters write -1, which is the largest number here, for a free axis.
        if field.value is not None and field.value < 1 << 63:
            return field.value
    return None
