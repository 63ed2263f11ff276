"""All that a new explanation method is: this file, and `DESCRIPTOR` in the list of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from explain.attribution import Attribution
from serving.config import ModelConfig
from serving.config.explainers.descriptor import Effort, ExplainerDescriptor
from serving.models.contract import Model


class Occlusion:
    """Attributes to each element what the first output loses when it alone is zero."""

    def __init__(self, model: Model, output: str) -> None:
        self._model = model
        self._output = output

    def explain(
        self,
        inputs: Mapping[str, np.ndarray],
        target: Sequence[int] | None = None,
        baselines: Mapping[str, np.ndarray] | None = None,
        effort: int | None = None,
        /,
    ) -> Attribution:
        ((name, rows),) = inputs.items()
        whole = self._scores(name, rows)
        of = whole.argmax(1) if target is None else np.array(target)
        every = np.arange(len(rows))
        lost = np.zeros(rows.shape)
        columns = min(rows.shape[1], effort or rows.shape[1])
        for column in range(columns):
            without = rows.copy()
            without[:, column] = 0
            lost[:, column] = (whole - self._scores(name, without))[every, of]
        none = np.zeros(len(rows))
        from_zeros = {name: np.zeros_like(rows)}
        took = {"n_columns": columns}
        return Attribution("toy", {name: lost}, of, from_zeros, none, none, took)

    def _scores(self, name: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict({name: rows})[self._output], np.float64)


def build(config: ModelConfig, model: Model) -> Occlusion:
    """Return the explainer of a model's first output."""
    return Occlusion(model, config.outputs[0].name)


DESCRIPTOR = ExplainerDescriptor(
    name="toy", build="toy_explainer:build", effort=Effort("n_columns", 8)
)
