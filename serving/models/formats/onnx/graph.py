"""Format `onnx`: a graph without code, computed by ONNX Runtime (the extra `vigil[onnx]`)."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from serving.config import ConfigError, InputSpec, OutputSpec
from serving.models.array_model import ArrayModel, Run
from serving.models.formats.onnx.external_data import external_files
from serving.models.formats.onnx.zipmap import ZIPMAP, Labels, as_table, class_order, zipmap_labels
from serving.models.formats.protobuf_walk import Damaged, Walk
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes
from serving.models.signature import FEATURES, Tensor, is_features
from serving.models.text import texts_of

ONNX_OF: Final = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}
"""ONNX Runtime's element types by OIP datatype. BF16 has none: numpy cannot carry it there."""

_OIP_OF: Final = {onnx: oip for oip, onnx in ONNX_OF.items()}
_ERRORS_ONLY: Final = 3
_FOLDER: Final = "session.model_external_initializers_file_folder_path"

Read = Callable[[Any], np.ndarray]
"""Makes an array for the protocol of what ONNX Runtime returns."""


def load_onnx(entry: ModelEntry, device: str) -> ArrayModel:
    """Load a graph and check its inputs and outputs against `model.yaml`, by name.

    The graph's inputs must be those that are declared and not sensitive. Of its outputs, those
    that are declared are computed; one that is named `features`, floating-point [rows, width],
    gives features, and any other is left alone. BYTES are UTF-8 strings in the graph, and the maps
    of a ZipMap become FP32 [rows, classes].

    Raises:
        ConfigError: ONNX Runtime is not installed, a file is missing, is not the one in the
            manifest or is no graph, or it does not fit what `model.yaml` declares.
    """
    content = verified_bytes(entry.directory, entry.weights.name)
    session = _session(entry, content, device)
    _check_inputs(entry, session.get_inputs())
    nodes = {node.name: node for node in session.get_outputs()}
    reads = _reads(entry, content, nodes)
    guards = FEATURES in nodes and FEATURES not in reads and is_features(_told(nodes[FEATURES]))
    return ArrayModel(
        entry,
        _runner(session, reads),
        _runner(session, {**reads, FEATURES: np.asarray}) if guards else None,
        tells_indices=True,
    )


def _session(entry: ModelEntry, content: bytes, device: str) -> Any:
    import onnxruntime  # its import starts threads

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = entry.config.replicas.cores
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    files = external_files(entry, content)
    if files:
        # The bytes that were checked; of graphs within graphs it reads the files themselves.
        sizes = [len(file) for file in files.values()]
        options.add_external_initializers_from_files_in_memory([*files], [*files.values()], sizes)
        options.add_session_config_entry(_FOLDER, str(entry.directory.absolute()))
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # noqa: BLE001 - its errors have no base class of their own
        message = " ".join(str(error).split())[:300]
        raise ConfigError(f"{entry.weights}: {message}; export the graph anew") from None


def _providers(device: str, available: list[str]) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device '{device}': use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and "CUDAExecutionProvider" not in available:
        raise ConfigError(f"device '{device}': this ONNX Runtime has no CUDA; use auto or cpu")
    if kind == "cpu" or "CUDAExecutionProvider" not in available:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": index or "0"}), "CPUExecutionProvider"]


def _check_inputs(entry: ModelEntry, nodes: list[Any]) -> None:
    specs = [spec for spec in entry.config.inputs if not spec.sensitive]
    found = {node.name: node for node in nodes}
    for spec in specs:
        _check(entry, "input", spec, found)
    missing = [name for name in found if name not in {spec.name for spec in specs}]
    if missing:
        raise ConfigError(
            f"{entry.weights}: the graph needs the input '{missing[0]}' "
            f"({_describe(found[missing[0]])}), which model.yaml does not declare"
        )


def _reads(entry: ModelEntry, content: bytes, nodes: dict[str, Any]) -> dict[str, Read]:
    """Return how each declared output is read, by its name, after checking it."""
    specs = entry.config.outputs
    maps = [s.name for s in specs if s.name in nodes and nodes[s.name].type.startswith(ZIPMAP)]
    labels = _labels(entry, content) if maps else {}
    found: dict[str, Read] = {}
    for spec in specs:
        if spec.name in maps:
            order = class_order(entry.weights, spec, labels.get(spec.name, []))
            found[spec.name] = partial(as_table, labels=order)
            continue
        _check(entry, "output", spec, nodes)
        found[spec.name] = _to_bytes if spec.datatype == "BYTES" else np.asarray
    return found


def _labels(entry: ModelEntry, content: bytes) -> dict[str, Labels]:
    try:
        return zipmap_labels(Walk(io.BytesIO(content)))
    except Damaged as error:
        raise ConfigError(f"{entry.weights}: is no ONNX graph: {error}") from None


def _check(
    entry: ModelEntry, side: str, spec: InputSpec | OutputSpec, nodes: dict[str, Any]
) -> None:
    if spec.datatype not in ONNX_OF:
        raise ConfigError(f"{entry.weights}: {side} '{spec.name}': {spec.datatype} is not offered")
    if spec.name not in nodes:
        names = ", ".join(f"'{name}'" for name in nodes)
        raise ConfigError(
            f"{entry.weights}: the graph has no {side} '{spec.name}', which model.yaml declares; "
            f"it has {names}"
        )
    node = nodes[spec.name]
    told = _told(node)
    own = entry.config.own_shape(spec)
    if told.datatype != spec.datatype or not _fits(side, told.shape or [], own, spec.shape == own):
        raise ConfigError(
            f"{entry.weights}: {side} '{spec.name}' is {_describe(node)}, model.yaml declares "
            f"{spec.datatype} {own}; {_advice(side, told, entry.config.row_axis)}"
        )


def _fits(side: str, shape: list[int | None], declared: list[int], has_rows: bool) -> bool:
    """Tell if the graph's shape takes the declared one."""
    if not shape and side == "output":
        return True  # The graph does not tell; what it computes is checked in any case.
    if len(shape) != len(declared):
        return not shape and has_rows  # nor does it of such an input
    # Of an output the first size is only what the exporter's example had.
    if has_rows and side == "input" and shape and shape[0] is not None:
        return False
    pairs = list(zip(shape, declared, strict=True))[1 if has_rows else 0 :]
    return all(size is None or size == wanted for size, wanted in pairs)


def _advice(side: str, told: Tensor, row_axis: bool) -> str:
    if told.datatype is None:
        return f"leave it out of model.yaml, or export the graph with another {side}"
    sizes = [-1 if size is None else size for size in told.shape or []]
    if not row_axis:
        return f"write `datatype: {told.datatype}, shape: {[-1, *sizes]}`"
    if side == "input" and sizes and sizes[0] != -1:
        return (
            f"export it with a first axis that is free, or write `shape: {sizes}` if all rows of "
            f"a request share its value"
        )
    shape = f", shape: {[-1, *sizes[1:]]}" if sizes else ""
    return f"write `datatype: {told.datatype}{shape}`"


def _told(node: Any) -> Tensor:
    """Return what ONNX Runtime says of an input or output; its free axes are names or None."""
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = [size if isinstance(size, int) else None for size in node.shape]
    return Tensor(node.name, _OIP_OF.get(kind), shape)


def _describe(node: Any) -> str:
    told = _told(node)
    shape = [-1 if size is None else size for size in told.shape or []]
    fixed = " (a fixed number of rows)" if shape and shape[0] != -1 else ""
    return f"{told.datatype or node.type} {shape}{fixed}"


_to_bytes: Final[Read] = np.vectorize(str.encode, otypes=[object])


def _runner(session: Any, reads: dict[str, Read]) -> Run:
    names = list(reads)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {
            name: texts_of(name, array) if array.dtype == object else array
            for name, array in inputs.items()
        }
        found = session.run(names, given)
        return {name: read(value) for (name, read), value in zip(reads.items(), found, strict=True)}

    return run
