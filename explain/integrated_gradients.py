"""Integrated gradients that are returned only if they add up to what they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explain.attribution import Attribution, CannotExplain, IncompleteAttribution
from explain.completeness import relative_completeness_error
from explain.target import explained_target

if TYPE_CHECKING:
    import torch

_MOST_STEPS = 256  # retries stop here: what 256 steps do not resolve, more of them seldom do


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is to be explained; the arrays have n rows, in the dtype that the module takes."""

    inputs: list[np.ndarray]
    baselines: list[np.ndarray]
    target: np.ndarray
    difference: np.ndarray


class IntegratedGradients:
    """Gradients along the straight path from a baseline, times the distance.

    Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep Networks"; captum computes
    them with Gauss-Legendre quadrature. Attributions are of the output as the module returns it.
    Rows whose completeness error is above the tolerance are done again with twice the steps, up
    to 256; what is still above it is an error and never an answer.

    Args:
        module: a private copy; backward passes through it must disturb nobody. It takes the
            floating-point inputs in order, each in the dtype it is given in, and returns
            [n, classes] or [n].
        input_names: names of the inputs, in the module's order.
        baselines: default baseline by input name, broadcast to the input; zeros where absent.
        n_steps: steps to begin with.
        max_relative_error: tolerance of `relative_completeness_error`.
        internal_batch_size: most rows of one forward and backward pass.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        input_names: Sequence[str],
        baselines: Mapping[str, np.ndarray | float] | None = None,
        n_steps: int = 32,
        max_relative_error: float = 0.05,
        internal_batch_size: int = 256,
    ) -> None:
        import torch
        from captum import attr  # seconds of import, which only an explainer should pay

        self._torch = torch
        self._module = module.eval()
        self._gradients = attr.IntegratedGradients(self._forward)
        self._names = tuple(input_names)
        self._baselines = dict(baselines or {})
        self._n_steps = n_steps
        self._tolerance = max_relative_error
        self._batch = internal_batch_size
        parameter = next(module.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device

    def explain(
        self,
        inputs: Mapping[str, np.ndarray],
        target: Sequence[int] | None = None,
        baselines: Mapping[str, np.ndarray] | None = None,
        n_steps: int | None = None,
    ) -> Attribution:
        """Attribute a batch of rows.

        Args:
            inputs: floating-point arrays by input name, first axis n rows.
            target: class index per row, for modules that return [n, classes]; None explains the
                class with the largest output.
            baselines: by input name, each broadcast to its input; absent ones take the default.
            n_steps: steps to begin with; None takes the configured number.

        Returns:
            Attributions; their effort is `n_steps`, the most that any row needed.

        Raises:
            IncompleteAttribution: the completeness error of a row stays above the tolerance.
            CannotExplain: inputs, target, baselines or steps that cannot be used; says which.
        """
        problem = self._problem(inputs, target, baselines or {})
        steps = self._n_steps if n_steps is None else n_steps
        if steps < 1:
            raise CannotExplain("n_steps must be at least 1")
        rows = np.arange(len(problem.target))
        values = [np.zeros_like(array) for array in problem.inputs]
        delta = np.zeros(len(rows))
        error = np.zeros(len(rows))
        while len(rows):
            total = np.zeros(len(rows))
            for whole, part in zip(values, self._attribute(problem, rows, steps), strict=True):
                whole[rows] = part
                total += part.reshape(len(rows), -1).sum(axis=1, dtype=np.float64)
            delta[rows] = total - problem.difference[rows]
            error[rows] = relative_completeness_error(delta[rows], problem.difference[rows])
            rows = rows[~(error[rows] <= self._tolerance)]
            if len(rows) and steps * 2 > _MOST_STEPS:
                raise self._incomplete(rows[0], delta, error, steps)
            steps = steps * 2 if len(rows) else steps
        return Attribution(
            method="integrated_gradients",
            values=dict(zip(self._names, values, strict=True)),
            target=problem.target,
            baselines=dict(zip(self._names, problem.baselines, strict=True)),
            convergence_delta=delta,
            relative_error=error,
            effort={"n_steps": steps},
        )

    def _problem(
        self,
        inputs: Mapping[str, np.ndarray],
        target: Sequence[int] | None,
        given: Mapping[str, np.ndarray],
    ) -> _Problem:
        unknown = sorted(given.keys() - set(self._names))
        if unknown:
            raise CannotExplain(f"baseline '{unknown[0]}': the module has no such input")
        arrays = [self._floating(name, inputs) for name in self._names]
        baselines = [
            self._baseline(name, given.get(name, self._baselines.get(name, 0.0)), array)
            for name, array in zip(self._names, arrays, strict=True)
        ]
        at_input, at_baseline = self._outputs(arrays), self._outputs(baselines)
        chosen = explained_target(at_input, target)
        rows = np.arange(len(chosen))
        difference = at_input[rows, chosen].astype(np.float64) - at_baseline[rows, chosen]
        return _Problem(arrays, baselines, chosen, difference)

    def _floating(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if name not in inputs:
            raise CannotExplain(f"input '{name}' is missing")
        array = inputs[name]
        if array.dtype.kind != "f":
            raise CannotExplain(
                f"input '{name}' is {array.dtype}: integrated gradients need floating-point inputs"
            )
        if not np.isfinite(array).all():
            raise CannotExplain(f"input '{name}' must be finite to be explained")
        return array

    def _baseline(self, name: str, value: np.ndarray | float, array: np.ndarray) -> np.ndarray:
        try:
            return np.broadcast_to(value, array.shape).astype(array.dtype)
        except ValueError:
            raise CannotExplain(
                f"baseline '{name}' of shape {list(np.shape(value))} does not fit "
                f"the input's {list(array.shape)}"
            ) from None

    def _forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Run the module; [n, classes], one class if it returns [n]."""
        output: torch.Tensor = self._module(*tensors)
        return output[:, None] if output.ndim == 1 else output

    def _outputs(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Run the module without gradients; [n, classes]."""
        parts = []
        with self._torch.no_grad():
            for start in range(0, max(len(arrays[0]), 1), self._batch):
                batch = [self._tensor(array[start : start + self._batch]) for array in arrays]
                parts.append(self._forward(*batch).cpu().numpy())
        outputs: np.ndarray = np.concatenate(parts)
        if outputs.ndim != 2:
            raise ValueError(f"the output must be [n] or [n, classes]; got {outputs.ndim} axes")
        return outputs

    def _attribute(self, problem: _Problem, rows: np.ndarray, steps: int) -> list[np.ndarray]:
        """Attributions of some rows with so many steps, by input."""
        chunks = []
        for start in range(0, len(rows), self._batch):
            part = rows[start : start + self._batch]
            found = self._gradients.attribute(
                tuple(self._tensor(array[part]) for array in problem.inputs),
                baselines=tuple(self._tensor(array[part]) for array in problem.baselines),
                target=self._torch.from_numpy(problem.target[part]).to(self._device),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=max(self._batch, len(part)),
            )
            chunks.append([tensor.detach().cpu().numpy() for tensor in found])
        return [np.concatenate(arrays) for arrays in zip(*chunks, strict=True)]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _incomplete(
        self, row: int, delta: np.ndarray, error: np.ndarray, steps: int
    ) -> IncompleteAttribution:
        return IncompleteAttribution(
            f"the attributions of row {row} miss the change of the output by {delta[row]:.3g}, "
            f"which is {error[row]:.1%} of it ({self._tolerance:.1%} is allowed), after {steps} "
            f"steps; give a baseline nearer to the input, more n_steps or a larger "
            f"tolerance"
        )
