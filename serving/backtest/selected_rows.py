"""Which rows got the favourable answer, as fairness counts them: without labels."""

from __future__ import annotations

import numpy as np

from serving.backtest.happenings import Past, Predicted
from serving.backtest.labelled_losses import LabelledLosses, answers_of, joined
from serving.config import ModelConfig
from serving.errors import Unsupported
from serving.models.label_kind import label_kind
from serving.models.profile.columns import input_columns


def selected_rows(past: Past, config: ModelConfig) -> LabelledLosses:
    """Return all rows that were answered, with 1 in place of a loss where they were selected.

    Raises:
        Unsupported: the model has no section `fairness`.
    """
    kind, fairness = label_kind(config), config.fairness
    if fairness is None or fairness.favorable is None or kind is None:
        raise Unsupported("only of a model with a section `fairness` it is known what is favorable")
    output = config.outputs[0]
    favorable = (output.classes or []).index(fairness.favorable)
    times: list[float] = []
    selected: list[np.ndarray] = []
    parts, groups = [], []
    for happened in past:
        if not isinstance(happened, Predicted):
            continue
        event = happened.event
        predicted = kind.predicted(answers_of(event, output))
        selected.append(predicted == favorable)
        times += [happened.time] * len(predicted)
        parts.append(input_columns(event.inputs, config))
        groups.append(event.sensitive_features)
    rows = np.concatenate(selected).astype(np.float64) if selected else np.zeros(0)
    return LabelledLosses(np.array(times), joined(parts), rows, joined(groups))
