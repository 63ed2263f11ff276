"""Format `onnx`: a graph without code, computed by ONNX Runtime (the extra `vigil[onnx]`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from serving.config import ConfigError, InputSpec, OutputSpec
from serving.models.array_model import ArrayModel, Run
from serving.models.manifest import verified_bytes
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.signature import FEATURES

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

_FLOATING: Final = ("tensor(float16)", "tensor(float)", "tensor(double)")
# How protobuf writes the key `location`, which a tensor has when its data lie in another file.
_ELSEWHERE: Final = b"\x0a\x08location\x12"
_ERRORS_ONLY: Final = 3


def load_onnx(entry: ModelEntry, device: str) -> ArrayModel:
    """Load a graph and check its inputs and outputs against `model.yaml`, by name.

    The graph's inputs must be those that are declared and not sensitive. Of its outputs, those
    that are declared are computed; one that is named `features`, floating-point [rows, width],
    gives features, and any other is left alone. BYTES are UTF-8 strings in the graph.

    Raises:
        ConfigError: ONNX Runtime is not installed, the file is missing, is not the one in the
            manifest or is no graph, or it does not fit what `model.yaml` declares.
    """
    content = verified_bytes(entry.directory, WEIGHTS_OF["onnx"])
    if _ELSEWHERE in content:
        raise ConfigError(
            f"{entry.weights}: keeps weights in other files, which the manifest does not cover; "
            f"save the graph as one file"
        )
    session = _session(entry, content, device)
    _check_inputs(entry, session.get_inputs())
    outputs = {node.name: node for node in session.get_outputs()}
    for spec in entry.config.outputs:
        _check(entry, "output", spec, outputs)
    declared = [spec.name for spec in entry.config.outputs]
    extra = outputs.get(FEATURES) if FEATURES not in declared else None
    if extra is not None and (extra.type not in _FLOATING or len(extra.shape) != 2):
        raise ConfigError(
            f"{entry.weights}: output 'features' is {_describe(extra)}; features must be "
            f"floating-point [rows, width]"
        )
    return ArrayModel(
        entry,
        _runner(entry, session, declared),
        _runner(entry, session, [*declared, FEATURES]) if extra is not None else None,
    )


def _session(entry: ModelEntry, content: bytes, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            f"model '{entry.name}': format onnx needs ONNX Runtime; install vigil[onnx]"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = entry.config.replicas.cores
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
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


def _check(
    entry: ModelEntry, what: str, spec: InputSpec | OutputSpec, found: dict[str, Any]
) -> None:
    if spec.datatype not in ONNX_OF:
        raise ConfigError(f"{entry.weights}: {what} '{spec.name}': {spec.datatype} is not offered")
    if spec.name not in found:
        names = ", ".join(f"'{name}'" for name in found)
        raise ConfigError(
            f"{entry.weights}: the graph has no {what} '{spec.name}', which model.yaml declares; "
            f"it has {names}"
        )
    node = found[spec.name]
    if node.type != f"tensor({ONNX_OF[spec.datatype]})" or not _fits(node.shape, spec.shape):
        raise ConfigError(
            f"{entry.weights}: {what} '{spec.name}' is {_describe(node)}, model.yaml declares "
            f"{spec.datatype} {spec.shape}"
        )


def _fits(shape: list[Any], declared: list[int]) -> bool:
    """Tell if the graph's shape, whose free axes are names or None, takes the declared one."""
    if not shape:
        return True  # The graph does not tell; what it computes is checked in any case.
    if len(shape) != len(declared) or isinstance(shape[0], int):
        return False
    pairs = zip(shape[1:], declared[1:], strict=True)
    return all(not isinstance(size, int) or size == wanted for size, wanted in pairs)


def _describe(node: Any) -> str:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    names = {onnx: oip for oip, onnx in ONNX_OF.items()}
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    fixed = " (a fixed number of rows)" if shape and shape[0] != -1 else ""
    return f"{names.get(kind, node.type)} {shape}{fixed}"


def _runner(entry: ModelEntry, session: Any, names: list[str]) -> Run:
    texts = {spec.name for spec in entry.config.outputs if spec.datatype == "BYTES"}
    to_bytes: Callable[[np.ndarray], np.ndarray] = np.vectorize(str.encode, otypes=[object])
    to_text: Callable[[np.ndarray], np.ndarray] = np.vectorize(bytes.decode, otypes=[object])

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {
            name: to_text(array) if array.dtype == object else array
            for name, array in inputs.items()
        }
        found = dict(zip(names, session.run(names, given), strict=True))
        return {name: to_bytes(array) if name in texts else array for name, array in found.items()}

    return run
