"""What an archive of `torch.export.save` takes and gives, read from its JSON without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import msgspec

from serving.config import ConfigError
from serving.models.formats.bounded_zip import read_member
from serving.models.signature import FEATURES, Signature, Tensor, placeholders
from serving.protocol.datatypes import FLOATING

_DATATYPES: Final = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64",
    12: "BOOL", 13: "BF16", 28: "UINT16", 34: "UINT32", 35: "UINT64",
}  # fmt: skip
"""OIP datatypes by torch's number for them in its schema (`torch/_export/serde/schema.py`)."""
_CONSTANT: Final = "constant_input"
_KNOWN: Final = (
    "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
    "collections.defaultdict",
)  # fmt: skip
_NAMELESS: Final = ("builtins.tuple", "builtins.list", "collections.namedtuple")
_NUMBERED: Final = re.compile(r".*_[0-9]+", re.DOTALL)
"""What torch calls the tensors of `*args`, or of an argument that holds several."""

TakenT = TypeVar("TakenT")


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


class ExportNames(NamedTuple):
    """What a graph takes and returns, in its order.

    Attributes:
        inputs: names of inputs; None for a constant of the export, which nobody gives.
        inputs_told: whether all of them are names of arguments of `forward`.
        outputs: names of results; placeholders where none is told.
        outputs_told: whether they are keys or fields of what `forward` returns.
        features: the place of the result called `features`, if guards can use it.
        is_foreign: whether the results are of a class that torch need not know here.
    """

    inputs: list[str | None]
    inputs_told: bool
    outputs: list[str]
    outputs_told: bool
    features: int | None
    is_foreign: bool


def read_export_signature(path: Path) -> Signature:
    """Read the inputs and outputs of the archive at `path`, by `read_export_names`.

    Constants of the export are no inputs, and features are the guards' and no output.

    Raises:
        ConfigError: it is no such archive.
    """
    return _read(path, _signature)


def read_export_names(content: BinaryIO, path: Path) -> ExportNames:
    """Read what an archive calls its inputs and outputs.

    Inputs have the names of the arguments of `forward`, or, where one argument holds several
    tensors, those that the graph gives them. Outputs have the keys of the dict, `ModelOutput` or
    dataclass that `forward` returns; a `forward` that returns anything else gives `output`, or
    `output_0`, `output_1` and so on in its order.

    Args:
        content: the archive.
        path: what to name in errors.

    Raises:
        ConfigError: it is no such archive.
    """
    return _read(path, _names, content)


def _read(path: Path, take: Callable[[_Module], TakenT], content: BinaryIO | None = None) -> TakenT:
    text = read_member(
        path,
        lambda name: name.partition("/")[2] == "models/model.json",
        "archive of torch.export.save",
        content,
    )
    try:
        return take(msgspec.json.decode(text, type=_Program).graph_module)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is damaged: its description is not what torch.export.save writes: "
            f"{str(error)[:200]}"
        ) from None


def _signature(module: _Module) -> Signature:
    found = _names(module)
    given = _arguments(module.signature.input_specs, "user_input", _CONSTANT)
    returned = _arguments(module.signature.output_specs, "user_output")
    values = module.graph.tensor_values
    inputs = [
        _tensor(name, argument, values)
        for name, argument in zip(found.inputs, given, strict=True)
        if name is not None
    ]
    outputs = [
        _tensor(name, argument, values)
        for name, argument in zip(found.outputs, returned, strict=True)
    ]
    if found.features is not None:
        del outputs[found.features]
    return Signature(inputs, outputs)


def _names(module: _Module) -> ExportNames:
    calls = [call.signature for call in module.module_call_graph if not call.fqn]
    call = (calls[0] if calls else None) or _CallSignature()
    given = _arguments(module.signature.input_specs, "user_input", _CONSTANT)
    returned = _arguments(module.signature.output_specs, "user_output")
    inputs, inputs_told = _input_names(call, given)
    outputs, told = _output_names(call, len(returned))
    features = _features(outputs, returned, module.graph.tensor_values) if told else None
    plain = [name for place, name in enumerate(outputs) if place != features]
    # The exporter of this project gives results without names these, to put features beside them.
    told = told and plain != list(placeholders(len(plain)))
    return ExportNames(inputs, inputs_told, outputs, told, features, _is_foreign(call))


class _Argument(NamedTuple):
    """One user input or output; `tensor` is the graph's name of it, None if it is none."""

    tensor: str | None
    is_constant: bool


def _arguments(specs: list[dict[str, msgspec.Raw]], *kinds: str) -> list[_Argument]:
    found = []
    for spec in specs:
        for kind in spec.keys() & set(kinds):
            argument = msgspec.json.decode(spec[kind], type=dict[str, Any]).get("arg")
            tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
            name = tensor.get("name") if isinstance(tensor, dict) else None
            found.append(_Argument(name if isinstance(name, str) else None, kind == _CONSTANT))
    return found


def _input_names(call: _CallSignature, given: list[_Argument]) -> tuple[list[str | None], bool]:
    told = _given_names(call)
    if len(told) != len(given):
        told = [None] * len(given)
    names = [
        name or argument.tensor or f"input_{index}"
        for index, (name, argument) in enumerate(zip(told, given, strict=True))
    ]
    tensors = [None if each.is_constant else name for name, each in zip(names, given, strict=True)]
    return tensors, all(name and not _NUMBERED.fullmatch(name) for name in told)


def _given_names(call: _CallSignature) -> list[str | None]:
    """Return the argument that each input is; None for those that share one."""
    arguments = _children(_tree(call.in_spec), "builtins.tuple")
    if len(arguments) != 2:
        return []
    placed, named = arguments
    by_position = _children(placed, "builtins.tuple")
    by_name = _children(named, "builtins.dict")
    names = (call.forward_arg_names or [])[: len(by_position)]
    keys = _keys(named)
    if len(keys) != len(by_name):
        return []
    found: list[str | None] = []
    for name, child in (*zip_longest(names, by_position), *zip(keys, by_name, strict=True)):
        leaves = _leaves(child)
        found += [name] if leaves == 1 and _is_leaf(child) else [None] * leaves
    return found


def _output_names(call: _CallSignature, count: int) -> tuple[list[str], bool]:
    tree = _tree(call.out_spec)
    names: list[str] = []
    if isinstance(tree, dict) and tree.get("type") not in _NAMELESS:
        children = _children(tree)
        keys = _keys(tree)
        for key, child in zip(keys, children, strict=False):
            leaves = _leaves(child)
            names += [key] if _is_leaf(child) else [f"{key}_{index}" for index in range(leaves)]
    told = bool(names) and len(names) == count
    return (names, True) if told else (list(placeholders(count)), False)


def _is_foreign(call: _CallSignature) -> bool:
    waiting = [_tree(call.out_spec)]
    while waiting:
        inner = waiting.pop()
        if _children(inner) and inner.get("type") not in _KNOWN:
            return True
        waiting += _children(inner)
    return False


def _features(
    outputs: list[str], returned: list[_Argument], values: dict[str, msgspec.Raw]
) -> int | None:
    """Return the place of what guards can use: floating-point numbers [rows, width]."""
    if FEATURES not in outputs or len(outputs) == 1:
        return None
    place = outputs.index(FEATURES)
    tensor = _tensor(FEATURES, returned[place], values)
    fits = tensor.datatype in FLOATING and tensor.shape is not None and len(tensor.shape) == 2
    return place if fits else None


def _tree(text: str) -> Any:
    """Return what torch wrote about how arguments or results nest, less its version number."""
    found = _json(text)
    return found[1] if isinstance(found, list) and len(found) == 2 else None


def _json(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _keys(tree: dict[str, Any]) -> list[str]:
    """Return the keys of a dict or `ModelOutput`, or the fields of a dataclass."""
    keys = _json(tree.get("context"))
    if isinstance(keys, dict):  # of a defaultdict
        keys = keys.get("dict_context")
    if isinstance(keys, list) and keys and isinstance(keys[0], list):  # fields that are not None
        keys = keys[0]
    is_named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    return keys if is_named else []


def _children(tree: Any, kind: str | None = None) -> list[Any]:
    """Return what lies directly in `tree`, nothing if it is not of the type `kind`."""
    if not isinstance(tree, dict) or kind not in (None, tree.get("type")):
        return []
    children = tree.get("children_spec")
    return children if isinstance(children, list) else []


def _is_leaf(tree: Any) -> bool:
    return isinstance(tree, dict) and tree.get("type") is None


def _leaves(tree: Any) -> int:
    """Return the number of tensors in `tree`."""
    count = 0
    waiting = [tree]
    while waiting:
        inner = waiting.pop()
        count += _is_leaf(inner)
        waiting += [] if _is_leaf(inner) else _children(inner)
    return count


def _tensor(name: str, argument: _Argument, values: dict[str, msgspec.Raw]) -> Tensor:
    raw = values.get(argument.tensor) if argument.tensor else None
    if raw is None:
        return Tensor(name, None, None)
    meta = msgspec.json.decode(raw, type=_Meta)
    return Tensor(name, _DATATYPES.get(meta.dtype), [size.as_int for size in meta.sizes])
