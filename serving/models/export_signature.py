"""What an archive of `torch.export.save` takes and gives, read from its JSON without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.config import ConfigError
from serving.models.bounded_zip import read_member
from serving.models.signature import FEATURES, Signature, Tensor

_DATATYPES: Final = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64",
    12: "BOOL", 13: "BF16", 28: "UINT16", 34: "UINT32", 35: "UINT64",
}  # fmt: skip
"""OIP datatypes by torch's number for them in its schema (`torch/_export/serde/schema.py`)."""
_DICT: Final = "builtins.dict"


class _Size(msgspec.Struct):
    """A number, or none where the size is an expression."""

    as_int: int | None = None


class _Meta(msgspec.Struct):
    dtype: int
    sizes: list[_Size]


class _Graph(msgspec.Struct):
    tensor_values: dict[str, msgspec.Raw]


class _Arguments(msgspec.Struct):
    input_specs: list[dict[str, msgspec.Raw]]
    output_specs: list[dict[str, msgspec.Raw]]


class _CallSignature(msgspec.Struct):
    in_spec: str = ""
    out_spec: str = ""
    forward_arg_names: list[str] | None = None


class _Call(msgspec.Struct):
    fqn: str
    signature: _CallSignature | None = None


class _Module(msgspec.Struct):
    graph: _Graph
    signature: _Arguments
    module_call_graph: list[_Call]


class _Program(msgspec.Struct):
    graph_module: _Module


def read_export_signature(path: Path) -> Signature:
    """Read the inputs and outputs of the archive at `path`.

    Inputs have the names of the arguments of `forward`, or, where one argument holds several
    tensors, those that the graph gives them. Outputs have the keys of the dict that `forward`
    returns, and a last one called `features` is the guards' and no output; a `forward` that
    returns anything else gives `output`, or `output_0`, `output_1` and so on in its order.

    Raises:
        ConfigError: it is no such archive.
    """
    content = read_member(
        path,
        lambda name: name.partition("/")[2] == "models/model.json",
        "archive of torch.export.save",
    )
    try:
        return _signature(msgspec.json.decode(content, type=_Program).graph_module)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is damaged: its description is not what torch.export.save writes: "
            f"{str(error)[:200]}"
        ) from None


def _signature(module: _Module) -> Signature:
    calls = [call.signature for call in module.module_call_graph if not call.fqn]
    call = (calls[0] if calls else None) or _CallSignature()
    given = _arguments(module.signature.input_specs, "user_input")
    returned = _arguments(module.signature.output_specs, "user_output")
    outputs = _output_names(call, len(returned))
    if len(outputs) > 1 and outputs[-1] == FEATURES:
        outputs, returned = outputs[:-1], returned[:-1]
    values = module.graph.tensor_values
    return Signature(
        _tensors(_input_names(call, given), given, values), _tensors(outputs, returned, values)
    )


def _arguments(specs: list[dict[str, msgspec.Raw]], kind: str) -> list[str | None]:
    """Return the graph's names of what users give or get; None for what is no tensor."""
    found: list[str | None] = []
    for spec in specs:
        if kind in spec:
            argument = msgspec.json.decode(spec[kind], type=dict[str, Any]).get("arg")
            tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
            name = tensor.get("name") if isinstance(tensor, dict) else None
            found.append(name if isinstance(name, str) else None)
    return found


def _input_names(call: _CallSignature, given: list[str | None]) -> list[str]:
    names = call.forward_arg_names
    positions = _children(_tree(call.in_spec), "builtins.tuple")
    flat = _leaves(positions[0]) if positions else None
    if names and flat == len(names) == len(given):
        return names
    return [name or f"input_{index}" for index, name in enumerate(given)]


def _output_names(call: _CallSignature, count: int) -> list[str]:
    tree = _tree(call.out_spec)
    if isinstance(tree, dict) and tree.get("type") == _DICT and _leaves(tree) == count:
        keys = _json(tree.get("context"))
        if isinstance(keys, list) and [type(key) for key in keys] == [str] * count:
            return keys
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _tree(text: str) -> Any:
    """Return what torch wrote about how arguments or results nest, less its version number."""
    found = _json(text)
    return found[1] if isinstance(found, list) and len(found) == 2 else None


def _json(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _children(tree: Any, kind: str) -> list[Any]:
    if not isinstance(tree, dict) or tree.get("type") != kind:
        return []
    children = tree.get("children_spec")
    return children if isinstance(children, list) else []


def _leaves(tree: Any) -> int | None:
    """Return the number of tensors in `tree`; None if they lie deeper than directly in it."""
    children = tree.get("children_spec") if isinstance(tree, dict) else None
    if not isinstance(children, list):
        return None
    flat = all(isinstance(child, dict) and child.get("type") is None for child in children)
    return len(children) if flat else None


def _tensors(
    names: list[str], arguments: list[str | None], values: dict[str, msgspec.Raw]
) -> list[Tensor]:
    found = []
    for name, argument in zip(names, arguments, strict=True):
        raw = values.get(argument) if argument else None
        if raw is None:
            found.append(Tensor(name, None, None))
            continue
        meta = msgspec.json.decode(raw, type=_Meta)
        shape = [size.as_int for size in meta.sizes]
        found.append(Tensor(name, _DATATYPES.get(meta.dtype), shape))
    return found
