"""The `classification` extension: the best classes of every row instead of all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.config import OutputSpec
from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import object_array
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.messages import RequestedOutput, Tensor

MOST_CLASSES = 1000
"""Per row: each becomes a text, made in the loop that serves everybody."""

_NO_SCORES = ("BOOL", "BYTES")


def as_asked(
    asked: Sequence[RequestedOutput],
    tensors: tuple[Tensor, ...],
    classes: Mapping[str, list[str] | None],
) -> tuple[Tensor, ...]:
    """Return `tensors`, those as classes of which the client asked for classes.

    Args:
        asked: what the client asked for, in the order of `tensors`.
        classes: class names of every output, where it has some.
    """
    if not any(map(_class_count, asked)):
        return tensors
    return tuple(
        classified(tensor, count, classes[tensor.name])
        if (count := _class_count(output))
        else tensor
        for output, tensor in zip(asked, tensors, strict=True)
    )


def _class_count(output: RequestedOutput) -> int:
    # 0 is Triton's "the tensor itself".
    return int(output.parameters.get("classification", 0)) if output.parameters else 0


def check_scores(output: RequestedOutput, spec: OutputSpec) -> None:
    """Check that the classes a client asks for can be given.

    Raises:
        InvalidInput: the output holds no scores, or they are too many.
    """
    count = _class_count(output)
    if count > MOST_CLASSES:
        raise InvalidInput(
            f"parameter 'classification' of output '{spec.name}' is at most {MOST_CLASSES}"
        )
    if count and spec.datatype in _NO_SCORES:
        raise InvalidInput(
            f"output '{spec.name}' is {spec.datatype} and holds no scores; leave out its "
            "parameter 'classification'"
        )


def classified(tensor: Tensor, count: int, classes: list[str] | None) -> Tensor:
    """Return the `count` best classes of every row, best first, as BYTES [rows, count].

    Each is the text `score:index` or `score:index:label`. A row has as many as it has scores, at
    most; equal scores keep the order of their indices, and NaN comes last.
    """
    scores = bf16_to_fp32(tensor.data) if tensor.datatype == "BF16" else tensor.data
    scores = scores.reshape(len(scores), -1)
    width = scores.shape[1]
    count = min(count, width)
    floating = scores.dtype.kind == "f"
    keys = np.where(np.isnan(scores), -np.inf, scores) if floating else scores
    # Sorted backwards from both sides, because integers without a sign cannot be negated.
    order = width - 1 - np.argsort(keys[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    best = np.take_along_axis(scores, order, axis=1)
    labels = classes if classes is not None and len(classes) == width else None
    form = "%f:%d" if floating else "%d:%d"
    texts = [
        form % (score, at) + (f":{labels[at]}" if labels else "")
        for score, at in zip(best.ravel().tolist(), order.ravel().tolist(), strict=True)
    ]
    data = object_array([text.encode() for text in texts], order.shape)
    return Tensor(tensor.name, "BYTES", order.shape, data)
