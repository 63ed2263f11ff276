"""What an archive of `torch.export.save` may hold without `trust_code`: a graph and its numbers.

`torch.export.load` reads more than that: pickles (weights, constants, sample inputs), compiled
libraries, names of any function under `torch`, operators that read and write files, and
expressions that it evaluates as Python. So the archive is checked, and rebuilt from what was
checked, before torch sees it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import torch

from serving.config import ConfigError

_ALLOWED: Final = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_[0-9]+|model_weights_config\.json)"
    r"|data/constants/(tensor_[0-9]+|model_constants_config\.json)"
    r"|archive_format|archive_version|version|byteorder|\.data/(version|serialization_id)"
)
# Texts for whoever wrote the archive; the model has no use for them.
_DROPPED: Final = "extra/"
# Operators that compute, of libraries that are known; others open files, sockets and processes,
# or believe indices unseen.
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(aten\.(?!from_file\b|save\b|_sparse_\w*_(unsafe|with_dims_and_tensors)\b)"
    r"|prims\.|quantized\.|quantized_decomposed\.|torchvision\.)"
    r"(__i?(and|or|xor|lshift|rshift)__|(?!__)\w+)(\.(?!__)\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_"
    r"|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt|pow|log2)"
    r"|torch\.(sym_[a-z]+|_sym_[a-z]+)"
)
# Sizes are written as sympy's constructors: Mul(Integer(2), Symbol('s77', positive=True)).
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_SYMBOL: Final = re.compile(r"(s|u|zf|zuf)[0-9]+|oo|int_oo|True|False")
_QUOTED: Final = re.compile(r"'(?:s|u|zf|zuf)[0-9]+'")
_SYMPY = """
    Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality FloatPow FloatTrueDiv FloorDiv FloorToInt
    Ge GreaterThan Gt IntTrueDiv Integer LessThan Le Lt Max Min Mod ModularIndexing Mul Ne Not Or
    Piecewise Pow PowByNatural PythonMod Rational RoundDecimal RoundToInt StrictGreaterThan
    StrictLessThan Symbol ToFloat TruncToFloat TruncToInt Unequality Where
    integer negative nonnegative nonzero positive zero
"""
_NAMES: Final = frozenset(_SYMPY.split())


def harmless_archive(content: bytes, where: Path) -> io.BytesIO:
    """Return the archive `content`, rebuilt from entries that bring no code.

    Args:
        content: an archive as `torch.export.save` writes it.
        where: what to name in errors.

    Raises:
        ConfigError: it holds anything that torch would run or unpickle, is compressed, has an
            entry twice, or is no such archive.
    """
    files = _read(content, where)
    for name in ("data/weights/model_weights_config", "data/constants/model_constants_config"):
        _check_payloads(files.get(f"{name}.json", b""), where)
    _check_sample_inputs(files.get("data/sample_inputs/model.pt", b""), where)
    _check_graph(files.get("models/model.json", b""), where)
    return _rebuilt(files)


def with_flat_results(content: bytes, where: Path) -> io.BytesIO:
    """Return the archive `content` as if its `forward` returned a tuple of all tensors.

    What is of a class that is not registered with torch here, such as a library's `ModelOutput`,
    could not be loaded otherwise.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        program = json.loads(files["models/model.json"])
        call = program["graph_module"]["module_call_graph"][0]["signature"]
        results = program["graph_module"]["signature"]["output_specs"]
        leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
        leaves = [leaf for result in results if "user_output" in result]
        nesting = {"type": "builtins.tuple", "context": "null", "children_spec": leaves}
        call["out_spec"] = json.dumps([json.loads(call["out_spec"])[0], nesting])
        files["models/model.json"] = json.dumps(program).encode()
    except (zipfile.BadZipFile, LookupError, TypeError, ValueError, RecursionError) as error:
        _refuse(where, f"is damaged: {type(error).__name__}: {error}", hint=False)
    return _rebuilt(files)


def _rebuilt(files: dict[str, bytes]) -> io.BytesIO:
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(rebuilt, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"archive/{name}", data)
    rebuilt.seek(0)
    return rebuilt


def _read(content: bytes, where: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            # Entries that share bytes would unpack to more than there is.
            if not stored or sum(entry.file_size for entry in entries) > len(content):
                _refuse(where, "unpacks to more than it holds; torch.export.save packs nothing")
            for entry in entries:
                name = entry.filename.partition("/")[2]
                if name.startswith(_DROPPED):
                    continue
                if not _ALLOWED.fullmatch(name) or name in files:
                    _refuse(where, f"holds '{entry.filename[:80]}', which may bring code")
                files[name] = archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        _refuse(where, f"is no archive of torch.export.save: {error}", hint=False)
    return files


def _refuse(where: Path, why: str, *, hint: bool = True) -> NoReturn:
    trust = "; set `trust_code: true` in model.yaml if you trust whoever made it" if hint else ""
    raise ConfigError(f"{where}: {why}{trust}")


def _json(text: bytes, where: Path) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _refuse(where, "is damaged: its description is no JSON", hint=False)


def _check_payloads(text: bytes, where: Path) -> None:
    for found in _objects(_json(text, where)):
        if found.get("use_pickle", False) is not False:
            _refuse(where, "holds weights as a pickle, which may run code")


def _check_sample_inputs(content: bytes, where: Path) -> None:
    try:
        # Torch begins like this as well, but where it fails it unpickles whatever there is.
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - torch raises many kinds for a pickle it does not like
        _refuse(where, "holds sample inputs as a pickle of more than tensors, which may run code")


def _check_graph(text: bytes, where: Path) -> None:
    for found in _objects(_json(text, where)):
        target = found.get("target")
        is_node = "inputs" in found and "outputs" in found and target is not None
        if is_node and not _OPERATOR.fullmatch(str(target)):
            _refuse(where, f"calls {str(target)[:80]!r}, which is no operator of a graph")
        expression = found.get("expr_str")
        if expression is not None and not _is_arithmetic(expression):
            _refuse(where, f"has a size {str(expression)[:80]!r}, which is no arithmetic")


def _is_arithmetic(expression: object) -> bool:
    if not isinstance(expression, str):
        return False
    bare = _QUOTED.sub("0", expression)
    if not re.fullmatch(r"[\w\s+*/%<>=!&|~(),.-]*", bare):
        return False
    if re.search(r"\.\s*[^\W\d]", bare):  # an attribute
        return False
    return all(_SYMBOL.fullmatch(word) or word in _NAMES for word in _WORD.findall(bare))


def _objects(value: Any) -> list[dict[str, Any]]:
    """Return every object in a JSON value, however deep."""
    found: list[dict[str, Any]] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found.append(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found
