"""Binds the names in `model.yaml` to what a torch artefact takes and returns.

Every torch format and every way to run it (served, compiled, on a device, explained) goes through
here, so that one rule holds. Names that the artefact tells bind by name, in whatever order
`model.yaml` lists them, and a name that the artefact does not have is refused. Where it tells none
(`*args`, a tuple), or where there is only one tensor to bind, the order in `model.yaml` counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch

from serving.config import ConfigError
from serving.errors import listed
from serving.models.named_outputs import OutputMissing, by_name, no_output
from serving.models.repository.folder import ModelEntry
from serving.models.signature import FEATURES

Run = Callable[..., Any]
"""Takes the input tensors in the order of `model.yaml`, or of what the artefact takes."""

FORWARD: Final = "forward"
WITH_FEATURES: Final = "forward_with_features"


class Arguments(NamedTuple):
    """What can be given to a `forward`.

    Attributes:
        names: of its arguments, those that can be given by position first.
        required: those of `names` that have no default.
        by_position: how many of `names` can be given by position.
        are_told: whether the names are the artefact's own and complete; else the order counts.
        takes_more: whether it takes further tensors without a name (`*args`).
        takes_any: whether it takes any other name (`**kwargs`).
    """

    names: tuple[str, ...]
    required: frozenset[str]
    by_position: int
    are_told: bool = True
    takes_more: bool = False
    takes_any: bool = False


class Results(NamedTuple):
    """What comes out of a `forward`, in order.

    Attributes:
        names: one for each result.
        are_told: whether the names are the artefact's own; else they are placeholders.
        features: the place of the result that may be features by its name.
        noun: what they are called in errors.
    """

    names: tuple[str, ...]
    are_told: bool
    features: int | None = None
    noun: str = "results"


def arguments_of(forward: Callable[..., Any]) -> Arguments:
    """Return the arguments of a Python function or bound method."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return Arguments((), frozenset(), 0, are_told=False, takes_more=True)
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = placed + [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return Arguments(
        tuple(p.name for p in named),
        frozenset(p.name for p in named if p.default is p.empty),
        len(placed),
        are_told=not takes_more,
        takes_more=takes_more,
        takes_any=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def arguments_of_method(module: torch.nn.Module, name: str) -> Arguments:
    """Return the arguments of `forward` or `forward_with_features`.

    One that takes only `*inputs` passes them on to the other, so it has the other's names.
    """
    own, other = (
        arguments_of(getattr(module, each, _unknown))
        for each in (name, FORWARD if name == WITH_FEATURES else WITH_FEATURES)
    )
    return other if other.names and not own.names and own.takes_more else own


def _unknown(*_inputs: object) -> None:
    """Stand in for a method that is not there."""


def input_names(entry: ModelEntry) -> tuple[str, ...]:
    """Return the names of the inputs that reach the model, in the order of `model.yaml`."""
    return tuple(spec.name for spec in entry.config.inputs if not spec.sensitive)


def output_names(entry: ModelEntry) -> tuple[str, ...]:
    """Return the names of the outputs, in the order of `model.yaml`."""
    return tuple(spec.name for spec in entry.config.outputs)


def bind_inputs(entry: ModelEntry, taken: Arguments) -> tuple[str, ...] | None:
    """Return the argument that each input of `model.yaml` is given as, in its order.

    Returns:
        Names of arguments; None where inputs are given by position, and not all have names.

    Raises:
        ConfigError: the inputs do not fit the arguments.
    """
    declared = input_names(entry)
    needed, most = len(taken.required), len(taken.names)
    if needed > len(declared) or (
        len(declared) > most and not (taken.takes_more or taken.takes_any)
    ):
        raise ConfigError(
            f"{entry.weights}: it takes {most if needed == most else f'{needed} to {most}'} "
            f"inputs, model.yaml declares {len(declared)} that are not sensitive; "
            f"it takes {listed(taken.names)}"
        )
    only = len(declared) == 1 and needed <= 1
    places = _places(taken.names, declared, is_loose=only or not taken.are_told)
    bound = declared if places is None else tuple(taken.names[i] for i in places if i < most)
    if (places is None and not taken.takes_any) or not taken.required <= set(bound):
        raise ConfigError(
            f"{entry.weights}: it takes the inputs {listed(taken.names)}, model.yaml declares "
            f"{listed(declared)}; give them the names that it takes"
        )
    return bound if len(bound) == len(declared) else None


def with_inputs(entry: ModelEntry, forward: Run, taken: Arguments) -> Run:
    """Return a function that calls `forward` with inputs in the order of `model.yaml`.

    Raises:
        ConfigError: the inputs do not fit the arguments.
    """
    names = bind_inputs(entry, taken)
    placed = taken.names[: min(len(names or ()), taken.by_position)]
    if names is None or names == placed:
        return forward
    if set(names) == set(placed):
        order = [names.index(name) for name in placed]
        return lambda *tensors: forward(*[tensors[place] for place in order])
    return lambda *tensors: forward(**dict(zip(names, tensors, strict=True)))


def bind_results(
    entry: ModelEntry, found: Results, taken: Arguments
) -> tuple[list[int], int | None]:
    """Return the place among the results of each output of `model.yaml`, and of the features.

    Of results that have names, one called `features` is the features, unless it is declared, and
    further ones are left out. Of others, one more than declared is the features.

    Raises:
        ConfigError: the outputs do not fit the results.
    """
    declared = output_names(entry)
    features = None if FEATURES in declared else found.features
    others = [name for place, name in enumerate(found.names) if place != features]
    if not found.are_told:
        if swapped := _swapped(entry, taken):
            raise ConfigError(f"{entry.weights}: {swapped}")
        if features is None and len(others) == len(declared) + 1:
            features = len(declared)
        elif len(others) != len(declared):
            raise ConfigError(
                f"{entry.weights}: it returns {len(others)} {found.noun}, model.yaml declares "
                f"{len(declared)} outputs; one more than declared are the features"
            )
    places = _places(found.names, declared, is_loose=not found.are_told)
    if places is None:
        raise ConfigError(
            f"{entry.weights}: it returns {listed(others)}, model.yaml declares the outputs "
            f"{listed(declared)}; give them the names that it returns"
        )
    return places, None if features in places else features


def bound(entry: ModelEntry, forward: Run, taken: Arguments) -> Run:
    """Return a function from inputs to outputs, both in the order of `model.yaml`.

    What `forward` returns shows only when it runs; see `OutputsByName`.

    Raises:
        ConfigError: the inputs do not fit the arguments.
    """
    run, outputs = with_inputs(entry, forward, taken), OutputsByName(entry, taken)

    def call(*tensors: torch.Tensor) -> Any:
        result = run(*tensors)
        # What most models return; it is looked at here because a call costs time in each batch.
        return result if isinstance(result, torch.Tensor) else outputs(result)

    return call


def bound_methods(entry: ModelEntry, module: torch.nn.Module) -> tuple[Run, Run | None]:
    """Return `forward` of `module` and, if there is one, `forward_with_features`, both bound.

    Raises:
        ConfigError: the inputs do not fit the arguments.
    """
    forward = bound(entry, module.forward, arguments_of_method(module, FORWARD))
    method = getattr(module, WITH_FEATURES, None)
    if method is None:
        return forward, None
    taken = arguments_of_method(module, WITH_FEATURES)
    run, outputs = with_inputs(entry, method, taken), OutputsByName(entry, taken)

    def with_features(*tensors: torch.Tensor) -> Any:
        found = run(*tensors)
        if not isinstance(found, tuple | list) or len(found) != 2:
            return found  # told by whoever asked
        return outputs(found[0]), found[1]

    return forward, with_features


class OutputsByName:
    """Takes the outputs, in the order of `model.yaml`, out of what a `forward` returns.

    For formats that tell only when they run what they return.

    Args:
        entry: the model.
        taken: the arguments of the `forward`.
    """

    def __init__(self, entry: ModelEntry, taken: Arguments) -> None:
        self._model = entry.name
        self._names = output_names(entry)
        self._swapped = _swapped(entry, taken)

    def __call__(self, result: Any) -> Any:
        """Return the outputs, or a result without names as it is.

        Raises:
            OutputMissing: it has names, and an output of `model.yaml` is not among them, or it has
                none, and `model.yaml` lists names of arguments in another order.
        """
        if isinstance(result, torch.Tensor):
            return result
        found = by_name(result)
        if found is None:
            if self._swapped:
                raise self._failed(self._swapped)
            return result
        for name in self._names:
            if name not in found:
                raise no_output(self._model, name, found)
        return tuple([found[name] for name in self._names])

    def _failed(self, what: str) -> OutputMissing:
        return OutputMissing(f"model '{self._model}' failed: {what}")


def _places(found: Sequence[str], declared: Sequence[str], *, is_loose: bool) -> list[int] | None:
    """Return the place in `found` of each declared name; None if they do not go together.

    If loose, names that are not found are taken by position, unless one that is found stands
    elsewhere.
    """
    place = {name: index for index, name in enumerate(found)}
    if all(name in place for name in declared):
        return [place[name] for name in declared]
    if is_loose and all(place.get(name, index) == index for index, name in enumerate(declared)):
        return list(range(len(declared)))
    return None


def _swapped(entry: ModelEntry, taken: Arguments) -> str | None:
    """Say what is wrong with outputs that are named like arguments, in another order than those."""
    declared = [name for name in output_names(entry) if name in taken.names]
    if declared == sorted(declared, key=taken.names.index):
        return None
    return (
        f"it takes {listed(taken.names)} and returns results without names, and model.yaml lists "
        f"outputs of these names in another order; list them in that order, or return a dict"
    )
