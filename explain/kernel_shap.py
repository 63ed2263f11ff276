"""KernelSHAP: Shapley values of any model that predicts, from evaluations alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from explain.attribution import (
    Attribution,
    CannotExplain,
    ExplanationTooLong,
    IncompleteAttribution,
)
from explain.coalitions import Coalitions, choose, least_samples
from explain.completeness import relative_completeness_error
from explain.masked_rows import MaskedRows, fit_baseline
from explain.target import explained_target

Predict = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Takes arrays by input name with n rows, returns numbers [n] or [n, classes]."""

_BATCH_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one explanation may cost.

    Attributes:
        features: features of a row; elements beyond that are grouped.
        batch_rows: rows of one call of the model.
        evaluations: rows that the model computes for one explanation, all its rows together.
        seconds: when it is given up; looked at between two calls.
    """

    features: int = 256
    batch_rows: int = 256
    evaluations: int = 1 << 18
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is to be explained, in n rows; `players` are the features that may have a value."""

    rows: MaskedRows
    players: list[np.ndarray]
    target: np.ndarray
    at_baseline: np.ndarray
    difference: np.ndarray


class KernelShap:
    """Shapley values by weighted least squares over coalitions of features.

    Lundberg and Lee (2017), "A Unified Approach to Interpreting Model Predictions". A feature that
    is in a coalition has the row's value, one that is not has the baseline's; so numbers and
    categories are treated alike. A feature that equals the baseline gets exactly zero and is not
    tried. With so few others that all coalitions fit into `n_samples` the values are exact;
    otherwise they are estimates, equal for equal arguments, and a row's do not depend on the other
    rows. They always add up to the change of the output.

    Args:
        predict: the model.
        input_names: names of the inputs.
        baselines: default baseline by input name, broadcast to the input; where absent zeros, and
            the empty text for text.
        n_samples: most coalitions per row.
        max_relative_error: tolerance of `relative_completeness_error`.
        limits: what one explanation may cost.
        seed: of the draws.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        predict: Predict,
        input_names: Sequence[str],
        baselines: Mapping[str, np.ndarray | float] | None = None,
        n_samples: int = 2048,
        max_relative_error: float = 0.05,
        limits: Limits | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predict = predict
        self._names = tuple(input_names)
        self._baselines = dict(baselines or {})
        self._n_samples = n_samples
        self._tolerance = max_relative_error
        self._limits = limits or Limits()
        self._seed = seed
        self._clock = clock
        self._ends = math.inf

    def explain(
        self,
        inputs: Mapping[str, np.ndarray],
        target: Sequence[int] | None = None,
        baselines: Mapping[str, np.ndarray] | None = None,
        n_samples: int | None = None,
    ) -> Attribution:
        """Attribute a batch of rows.

        Args:
            inputs: numbers, booleans or texts (object arrays) by input name, first axis n rows.
            target: class index per row, for models that return [n, classes]; None explains the
                class with the largest output.
            baselines: by input name, each broadcast to its input; absent ones take the default.
            n_samples: most coalitions per row; None takes the configured number.

        Returns:
            Attributions in float64; elements of one group share its value evenly, apart from
            those that equal the baseline, which have none. Their effort is `n_samples`, the most
            evaluations of the model that any row took, and `n_features`, the most features of a row
            that were told apart.

        Raises:
            IncompleteAttribution: the output is not finite, or the error is above the tolerance.
            ExplanationTooLong: `limits.seconds` have passed.
            CannotExplain: inputs, target, baselines or samples that cannot be used, a row with NaN
                for which the output is not finite, or more work than `limits.evaluations`; says
                which.
        """
        self._ends = self._clock() + self._limits.seconds
        problem = self._problem(self._arrays(inputs), target, baselines or {})
        samples = self._n_samples if n_samples is None else n_samples
        designs = self._designs([len(players) for players in problem.players], samples)
        shapley = self._shapley(problem, designs)
        values = problem.rows.spread(shapley)
        total = sum(array.reshape(len(shapley), -1).sum(axis=1) for array in values.values())
        delta = total - problem.difference
        error = relative_completeness_error(delta, problem.difference)
        self._complete(delta, error)
        return Attribution(
            method="kernel_shap",
            values=values,
            target=problem.target,
            baselines=problem.rows.baselines,
            convergence_delta=delta,
            relative_error=error,
            effort={
                "n_samples": max(len(design.weights) for design in designs.values()),
                "n_features": shapley.shape[1],
            },
        )

    # -- what is asked ------------------------------------------------------------------

    def _arrays(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name in self._names:
            if name not in inputs:
                raise CannotExplain(f"input '{name}' is missing")
        arrays = {name: inputs[name] for name in self._names}
        if not all(map(len, arrays.values())):
            raise CannotExplain("an explanation needs at least one row")
        return arrays

    def _problem(
        self,
        arrays: dict[str, np.ndarray],
        target: Sequence[int] | None,
        given: Mapping[str, np.ndarray],
    ) -> _Problem:
        unknown = sorted(given.keys() - set(self._names))
        if unknown:
            raise CannotExplain(f"baseline '{unknown[0]}': the model has no such input")
        wanted = {**self._baselines, **given}
        baselines = {name: fit_baseline(name, wanted.get(name), a) for name, a in arrays.items()}
        masked = MaskedRows(arrays, baselines, self._limits.features)
        at_input, at_baseline = self._outputs(arrays), self._outputs(baselines)
        chosen = explained_target(at_input, target)
        rows = np.arange(len(chosen))
        end, start = at_input[rows, chosen], at_baseline[rows, chosen]
        _refuse_infinite(masked, rows, end)
        _refuse_infinite(masked, rows, start)
        return _Problem(
            rows=masked,
            players=masked.players(),
            target=chosen,
            at_baseline=start,
            difference=end - start,
        )

    def _designs(self, players: Sequence[int], n_samples: int) -> dict[int, Coalitions]:
        """The coalitions of rows by their number of players, after a look at what they cost."""
        needed = least_samples(max(players))
        if n_samples < needed:
            raise CannotExplain(
                f"n_samples must be at least {needed} for rows with {max(players)} features"
            )
        cost = sum(min(n_samples, 1 << count) for count in players)
        if cost > self._limits.evaluations:
            raise CannotExplain(
                f"this explanation needs {cost} evaluations of the model and at most "
                f"{self._limits.evaluations} are allowed; send fewer rows or lower n_samples"
            )
        return {count: choose(count, n_samples, self._seed) for count in sorted(set(players))}

    # -- the model ----------------------------------------------------------------------

    def _outputs(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Outputs of many rows, float64 [n, classes]."""
        parts = []
        batch = self._batch(arrays)
        for start in range(0, len(next(iter(arrays.values()))), batch):
            part = {name: array[start : start + batch] for name, array in arrays.items()}
            parts.append(self._call(part))
        return np.concatenate(parts)

    def _call(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        if self._clock() > self._ends:
            raise ExplanationTooLong(
                f"the explanation took longer than {self._limits.seconds:g} s; "
                f"send fewer rows or lower n_samples"
            )
        outputs = self._predict(arrays)
        if outputs.dtype.kind not in "biuf" or outputs.ndim not in (1, 2):
            raise CannotExplain(
                f"the output must be numbers [n] or [n, classes]; got {outputs.dtype} with "
                f"{outputs.ndim} axes"
            )
        return outputs.reshape(len(outputs), -1).astype(np.float64)

    def _batch(self, arrays: Mapping[str, np.ndarray]) -> int:
        row = sum(array[:1].nbytes for array in arrays.values())
        return max(1, min(self._limits.batch_rows, _BATCH_BYTES // max(row, 1)))

    # -- Shapley values -----------------------------------------------------------------

    def _shapley(self, problem: _Problem, designs: dict[int, Coalitions]) -> np.ndarray:
        """Values of all features, float64 [n, features]."""
        sizes = [len(designs[len(players)].weights) for players in problem.players]
        ends = np.cumsum(sizes)
        gains = np.empty(int(ends[-1]))
        done = 0
        for row, present in self._coalitions(problem, designs):
            count = len(row)
            outputs = self._call(problem.rows.mixed(row, present))
            explained = outputs[np.arange(count), problem.target[row]]
            _refuse_infinite(problem.rows, row, explained)
            gains[done : done + count] = explained - problem.at_baseline[row]
            done += count
        shapley = np.zeros((len(sizes), problem.rows.features))
        for at, players in enumerate(problem.players):
            mine = gains[ends[at] - sizes[at] : ends[at]]
            difference = float(problem.difference[at])
            shapley[at, players] = designs[len(players)].shapley(mine, difference)
        return shapley

    def _coalitions(
        self, problem: _Problem, designs: dict[int, Coalitions]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of coalitions of all rows: row index [b], features present bool [b, features]."""
        batch = self._batch(problem.rows.inputs)
        rows: list[np.ndarray] = []
        masks: list[np.ndarray] = []
        waiting = 0
        for row, players in enumerate(problem.players):
            members = designs[len(players)].members
            start = 0
            while start < len(members):
                part = members[start : start + batch - waiting]
                present = np.zeros((len(part), problem.rows.features), dtype=bool)
                present[:, players] = part
                rows.append(np.full(len(part), row))
                masks.append(present)
                waiting += len(part)
                start += len(part)
                if waiting == batch:
                    yield np.concatenate(rows), np.concatenate(masks)
                    rows, masks, waiting = [], [], 0
        if waiting:
            yield np.concatenate(rows), np.concatenate(masks)

    def _complete(self, delta: np.ndarray, error: np.ndarray) -> None:
        wrong = np.flatnonzero(~(error <= self._tolerance))
        if len(wrong):
            row = wrong[0]
            raise IncompleteAttribution(
                f"the attributions of row {row} miss the change of the output by "
                f"{delta[row]:.3g}, which is {error[row]:.1%} of it ({self._tolerance:.1%} is "
                f"allowed)"
            )


def _refuse_infinite(masked: MaskedRows, rows: np.ndarray, outputs: np.ndarray) -> None:
    for row in rows[~np.isfinite(outputs)][:1]:
        name = masked.not_finite(row)
        if name is not None:
            raise CannotExplain(
                f"row {row}: the model's output is not finite, and input '{name}' holds NaN or "
                f"infinity there; send finite numbers"
            )
        raise IncompleteAttribution(
            "the model's output is not finite at the row, at the baseline or between them; "
            "give another baseline or target"
        )
