"""Format `torch_export`: a graph with its weights, saved by `torch.export.save`.

Without `trust_code: true` an archive that would make torch run code is refused.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

from serving.config import ConfigError
from serving.models.export_archive import harmless_archive
from serving.models.manifest import verified_bytes
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.torch_assembly import assemble
from serving.models.torch_model import FirstOutput, Run, TorchModel, resolve_device

Results = Callable[..., tuple[Any, ...]]
"""Takes the input tensors in order; returns results in order."""


def load_torch_export(entry: ModelEntry, device: str) -> TorchModel:
    """Load an exported program.

    A program that returns one result more than `model.yaml` declares outputs gives features:
    the last result is the penultimate activations, and `predict` drops it.

    Raises:
        ConfigError: the file is missing, is not the one in the manifest, is not readable, holds
            what may run code and is not trusted, or its graph does not fit what `model.yaml`
            declares.
    """
    where = resolve_device(device)
    path = entry.weights
    content = verified_bytes(entry.directory, WEIGHTS_OF["torch_export"])
    if not entry.config.trust_code:
        content = harmless_archive(content, path).getvalue()
    program = _load(content, path, where)
    declared = len(entry.config.outputs)
    returned = len(program.graph_signature.user_outputs)
    if returned not in (declared, declared + 1):
        raise ConfigError(
            f"{path}: the graph returns {returned} results, model.yaml declares {declared} "
            f"outputs; one more than declared are the features"
        )
    needed = sum(not spec.sensitive for spec in entry.config.inputs)
    if len(program.graph_signature.user_inputs) != needed:
        raise ConfigError(
            f"{path}: the graph takes {len(program.graph_signature.user_inputs)} inputs, "
            f"model.yaml declares {needed} that are not sensitive"
        )
    if entry.config.compile in ("default", "max-autotune"):
        first, everything = _module_runners(program, declared)
    else:
        first, everything = _lean_runner(program, declared), _lean_runner(program, returned)
    return assemble(
        entry,
        where,
        first,
        _split(everything) if returned > declared else None,
        # Loaded afresh: a module of the same program would share its weights.
        lambda: FirstOutput(_load(content, path, where).module(check_guards=False)),
    )


def _load(content: bytes, path: Path, device: torch.device) -> ExportedProgram:
    try:
        program: ExportedProgram = torch.export.load(io.BytesIO(content))
        if device.type != "cpu":
            program = move_to_device_pass(program, device)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a damaged archive
        message = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: {type(error).__name__}: {message}") from None
    return program


def _module_runners(program: ExportedProgram, results: int) -> tuple[Results, Results]:
    """Return functions that give the first `results` results and all, for a compiler.

    Weights are a module's own here, which a compiler may take for constants; what the first
    function drops, it also takes out of the graph.
    """
    module = program.module(check_guards=False)

    def everything(*inputs: torch.Tensor) -> tuple[Any, ...]:
        found = module(*inputs)
        if isinstance(found, dict):
            return tuple(found.values())
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    return lambda *inputs: everything(*inputs)[:results], everything


def _lean_runner(program: ExportedProgram, results: int) -> Results:
    """Return a function of the input tensors that gives the first `results` results.

    `program.module()` checks its guards and unflattens at every call (73 µs for a small MLP);
    the graph alone, with its weights in front of the inputs, costs 24 µs.
    """
    leading: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        target = spec.target or ""
        # A buffer that is not persistent lies among the constants.
        held = program.state_dict if target in program.state_dict else program.constants
        leading.append(held[target])
    forward = _pruned(program, results).forward

    def run(*inputs: torch.Tensor) -> tuple[Any, ...]:
        found: tuple[Any, ...] = forward(*leading, *inputs)
        return found

    return run


def _pruned(program: ExportedProgram, results: int) -> GraphModule:
    """Return the program's graph with its first `results` results and nothing they do not need."""
    graph = copy.deepcopy(program.graph_module.graph)
    for node in list(graph.nodes):
        # Datatypes are checked at the door already, and every check here costs 2 µs.
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    positions = [
        index
        for index, spec in enumerate(program.graph_signature.output_specs)
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    output = graph.output_node()
    everything = cast(Sequence[Any], output.args[0])
    output.args = (tuple(everything[position] for position in positions[:results]),)
    graph.eliminate_dead_code()
    # The signature of the exporting call describes results that are no longer there.
    graph.set_codegen(CodeGen())
    return GraphModule(program.graph_module, graph)


def _split(run: Results) -> Run:
    def with_features(*inputs: torch.Tensor) -> tuple[tuple[Any, ...], Any]:
        results = run(*inputs)
        return results[:-1], results[-1]

    return with_features
