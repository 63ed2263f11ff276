"""Format `torch_export`: a graph with its weights, saved by `torch.export.save`.

Without `trust_code: true` an archive that would make torch run code is refused.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

# Has been in place for years, and it is how torch itself calls an exported module.
from torch.utils._pytree import tree_leaves, tree_unflatten

from serving.config import ConfigError
from serving.models.formats.torch_export.archive import harmless_archive, with_flat_results
from serving.models.formats.torch_export.signature import ExportNames, read_export_names
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes
from serving.models.torch.assembly import assemble
from serving.models.torch.model import FirstOutput, TorchModel, resolve_device
from serving.models.torch.tensor_names import Arguments, Results, Run, bind_inputs, bind_results


class _Constant(NamedTuple):
    """What the export took for a constant; the graph has a place for it all the same."""

    value: Any


Feed = Sequence[int | _Constant]
"""What a graph is given at each of its places: the input at a position in `model.yaml`, or that."""


class _Wiring(NamedTuple):
    """How a graph is called, in the order of `model.yaml`.

    Attributes:
        inputs: what it is given.
        outputs: places of results.
        features: the place of the features; None without any.
    """

    inputs: Feed
    outputs: list[int]
    features: int | None


def load_torch_export(entry: ModelEntry, device: str) -> TorchModel:
    """Load an exported program.

    A result called `features`, or, of results without names, one more than `model.yaml` declares
    outputs, is the penultimate activations; `predict` drops it.

    Raises:
        ConfigError: the file is missing, is not the one in the manifest, is not readable, holds
            what may run code and is not trusted, or its graph does not fit what `model.yaml`
            declares.
    """
    where = resolve_device(device)
    path = entry.weights
    content = verified_bytes(entry.directory, path.name)
    if not entry.config.trust_code:
        content = harmless_archive(content, path).getvalue()
    names = read_export_names(io.BytesIO(content), path)
    if names.is_foreign:
        content = with_flat_results(content, path).getvalue()
    program = _load(content, path, where)
    wiring = _wiring(entry, names, program)
    everything = wiring.outputs if wiring.features is None else [*wiring.outputs, wiring.features]
    runner = _lean_runner
    if entry.config.compile in ("default", "max-autotune"):
        # A compiler may take a module's own weights for constants.
        runner = _module_runner
    return assemble(
        entry,
        where,
        runner(program, wiring.inputs, wiring.outputs),
        None if wiring.features is None else _split(runner(program, wiring.inputs, everything)),
        lambda: _first_output(_load(content, path, where), wiring),
        is_graph=True,
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


def _wiring(entry: ModelEntry, names: ExportNames, program: ExportedProgram) -> _Wiring:
    given = tuple(name for name in names.inputs if name is not None)
    taken = Arguments(given, frozenset(given), len(given), are_told=names.inputs_told)
    bound = bind_inputs(entry, taken)
    assert bound is not None  # it takes nothing without a name
    found = Results(tuple(names.outputs), names.outputs_told, names.features)
    outputs, features = bind_results(entry, found, taken)
    places = [
        spec.arg
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT
    ]
    inputs = [
        _Constant(getattr(place, "value", None)) if name is None else bound.index(name)
        for name, place in zip(names.inputs, places, strict=True)
    ]
    return _Wiring(inputs, outputs, features)


def _fed(run: Run, inputs: Feed) -> Run:
    if list(inputs) == list(range(len(inputs))):
        return run

    def fed(*tensors: torch.Tensor) -> Any:
        return run(*[x.value if isinstance(x, _Constant) else tensors[x] for x in inputs])

    return fed


def _module_runner(program: ExportedProgram, inputs: Feed, results: Sequence[int]) -> Run:
    """Return a function of the input tensors that gives the results at these places.

    What it drops, a compiler takes out of the graph.
    """
    return _run_of(program.module(check_guards=False), program, inputs, results)


def _first_output(program: ExportedProgram, wiring: _Wiring) -> FirstOutput:
    module = program.module(check_guards=False)
    return FirstOutput(module, _run_of(module, program, wiring.inputs, wiring.outputs[:1]))


def _run_of(
    module: torch.nn.Module, program: ExportedProgram, inputs: Feed, results: Sequence[int]
) -> Run:
    nesting = program.call_spec.in_spec

    def run(*tensors: Any) -> tuple[Any, ...]:
        arguments, keywords = tree_unflatten(tensors, nesting)
        found = tree_leaves(module(*arguments, **keywords))
        return tuple([found[place] for place in results])

    return _fed(run, inputs)


def _lean_runner(program: ExportedProgram, inputs: Feed, results: Sequence[int]) -> Run:
    """Return a function of the input tensors that gives the results at these places.

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

    def run(*tensors: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = forward(*leading, *tensors)
        return found

    return _fed(run, inputs)


def _pruned(program: ExportedProgram, results: Sequence[int]) -> GraphModule:
    """Return the program's graph with the results at these places and nothing others need."""
    graph = copy.deepcopy(program.graph_module.graph)
    for node in list(graph.nodes):
        # Datatypes are checked at the door already, and every check here costs 2 µs.
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    output = graph.output_node()
    everything = zip(
        program.graph_signature.output_specs, cast(Sequence[Any], output.args[0]), strict=True
    )
    returned = [value for spec, value in everything if spec.kind is OutputKind.USER_OUTPUT]
    output.args = (tuple(returned[place] for place in results),)
    graph.eliminate_dead_code()
    # The signature of the exporting call describes results that are no longer there.
    graph.set_codegen(CodeGen())
    return GraphModule(program.graph_module, graph)


def _split(run: Run) -> Run:
    def with_features(*inputs: torch.Tensor) -> tuple[tuple[Any, ...], Any]:
        results = run(*inputs)
        return results[:-1], results[-1]

    return with_features
