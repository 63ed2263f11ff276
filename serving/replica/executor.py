"""Running one batch on one replica: forward pass, model guards, and the poison bisected out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from guards.rows import Rows
from guards.runner import GuardRunner
from serving.channel.messages.inference import BatchResult, GuardResult, ResultMeta
from serving.errors import InvalidInput, ModelFailed, VigilError, cause_of
from serving.models.contract import AsyncModel, Model, Prediction
from serving.models.guards.report import report_failure, results_of

_OF_A_ROW: Final = (InvalidInput, ModelFailed)
"""What one request of a batch may bring about; the others have an answer all the same."""


class BatchExecutor:
    """Runs batches on one model. Not thread-safe.

    Args:
        model: the loaded model.
        guards: those that run beside the model.
        name, version: of the model, for the log.
    """

    def __init__(
        self,
        model: Model,
        guards: GuardRunner | None = None,
        name: str = "",
        version: str = "",
    ) -> None:
        self._name, self._version = name, version
        self._model = model
        self._guards = guards or GuardRunner()
        self._guarded = bool(self._guards.names)
        self._with_features = self._guards.needs.features
        self.overlaps = isinstance(model, AsyncModel)

    def run(self, rows: Sequence[int], inputs: Mapping[str, np.ndarray]) -> BatchResult:
        """Run a batch; `rows` are the row counts of its requests.

        A request that makes the model raise, or that it refuses, is found by bisection and fails
        alone.

        Raises:
            InvalidInput: `rows` does not add up to the rows of the inputs.
        """
        self._require_rows(rows, inputs)
        started = time.perf_counter_ns()
        failed: dict[int, VigilError] = {}
        prediction = self._bisect(list(range(len(rows))), rows, inputs, failed)
        return self._judged(rows, inputs, prediction, failed, started)

    async def run_async(self, rows: Sequence[int], inputs: Mapping[str, np.ndarray]) -> BatchResult:
        """Run a batch while others are under way; needs `overlaps`.

        Raises:
            InvalidInput: `rows` does not add up to the rows of the inputs.
        """
        assert isinstance(self._model, AsyncModel)
        self._require_rows(rows, inputs)
        started = time.perf_counter_ns()
        failed: dict[int, VigilError] = {}
        try:
            prediction: Prediction | None = await self._model.predict_async(
                inputs, features=self._with_features
            )
        except _OF_A_ROW:
            prediction = None
        else:
            return self._judged(rows, inputs, prediction, failed, started)
        # Rare enough that the search for the poison may hold up the others.
        prediction = self._bisect(list(range(len(rows))), rows, inputs, failed)
        return self._judged(rows, inputs, prediction, failed, started)

    def _require_rows(self, rows: Sequence[int], inputs: Mapping[str, np.ndarray]) -> None:
        total = sum(rows)
        if not total or any(len(array) != total for array in inputs.values()):
            raise InvalidInput("the batch does not hold the rows that it names")

    def _judged(
        self,
        rows: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        prediction: Prediction | None,
        failed: dict[int, VigilError],
        started: int,
    ) -> BatchResult:
        computed = time.perf_counter_ns()
        guards: tuple[GuardResult, ...] = ()
        if self._guarded and prediction is not None:
            guards = self._check(rows, inputs, prediction, failed)
        done = time.perf_counter_ns()
        outputs = prediction.outputs if prediction else {}
        messages = {position: error.message for position, error in failed.items()}
        kinds = {
            position: type(error).__name__
            for position, error in failed.items()
            if not isinstance(error, ModelFailed)
        }
        causes = {
            position: cause
            for position, error in failed.items()
            if isinstance(error, ModelFailed) and (cause := cause_of(error)) is not None
        }
        times = (computed - started, done - computed)
        return BatchResult(outputs, ResultMeta(messages, guards, *times, kinds, causes=causes))

    def _forward(self, inputs: Mapping[str, np.ndarray]) -> Prediction:
        if self._with_features:
            return self._model.predict_with_features(inputs)
        return Prediction(self._model.predict(inputs))

    def _bisect(
        self,
        positions: list[int],
        rows: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        failed: dict[int, VigilError],
    ) -> Prediction | None:
        try:
            return self._forward(inputs)
        except _OF_A_ROW as error:
            if len(positions) == 1:
                failed[positions[0]] = error
                return None
        half = len(positions) // 2
        cut = sum(rows[position] for position in positions[:half])
        left = {name: array[:cut] for name, array in inputs.items()}
        right = {name: array[cut:] for name, array in inputs.items()}
        return _merge(
            self._bisect(positions[:half], rows, left, failed),
            self._bisect(positions[half:], rows, right, failed),
        )

    def _check(
        self,
        rows: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        prediction: Prediction,
        failed: dict[int, VigilError],
    ) -> tuple[GuardResult, ...]:
        kept: np.ndarray | None = None
        n = sum(rows)
        if failed:
            alive = np.array([position not in failed for position in range(len(rows))])
            kept = np.flatnonzero(np.repeat(alive, rows))
            n = len(kept)
            inputs = {name: array[kept] for name, array in inputs.items()}
        outcomes = self._guards.run(Rows(n, inputs, prediction.features, prediction.outputs))
        for at, outcome in enumerate(outcomes):
            if outcome.failure is not None:
                report_failure(outcome, self._name, self._version, rows=n)
            if kept is not None and outcome.rows:
                places = [(int(kept[row]), action, why) for row, action, why in outcome.rows]
                outcomes[at] = outcome._replace(rows=tuple(places))
        return results_of(outcomes)


def _merge(left: Prediction | None, right: Prediction | None) -> Prediction | None:
    if left is None or right is None:
        return left or right
    features = None
    if left.features is not None and right.features is not None:
        features = np.concatenate([left.features, right.features])
    outputs = {
        name: np.concatenate([array, right.outputs[name]]) for name, array in left.outputs.items()
    }
    return Prediction(outputs, features)
