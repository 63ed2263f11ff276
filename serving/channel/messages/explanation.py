"""What gateways and explainers say to each other.

Kind `explain`: `ExplainMeta` and the model's inputs as tensors; the reply is `ExplainReply`
with tensors `attribution:<input>` (a number for each element of the input), `baseline:<input>`
(shaped as the input, and of its datatype but for BF16, which is widened) and `convergence_delta`
(FP64, one per row).
"""

from __future__ import annotations

from typing import Final

import msgspec

EXPLAIN: Final = "explain"
ATTRIBUTION_PREFIX: Final = "attribution:"
BASELINE_PREFIX: Final = "baseline:"
CONVERGENCE_DELTA: Final = "convergence_delta"


class ExplainMeta(msgspec.Struct, array_like=True, frozen=True):
    """How to explain. None leaves the choice to the model's configuration.

    Attributes:
        method: name of the method, or `auto`.
        target: class to explain in every row, by index or by name; None explains the class that
            each row was predicted to be.
        baseline: `zeros` or `mean` (of the reference data).
        effort: how much to compute, by the parameter's name, as each method calls it.
        timeout_s: seconds after which nobody waits for the answer any more.
        traceparent: W3C trace context for a model on another server; empty without one.
    """

    method: str | None = None
    target: int | str | None = None
    baseline: str | None = None
    effort: dict[str, int] = {}
    timeout_s: float | None = None
    traceparent: str = ""


class ExplainReply(msgspec.Struct, array_like=True, frozen=True):
    """What was done.

    Attributes:
        method: the method that was used.
        target: the explained class of every row.
        baseline: name of the baseline.
        effort: how much was computed, by the names that the method has for it.
        version: of the model on another server; empty where it is the served one.
    """

    method: str
    target: tuple[int, ...]
    baseline: str
    effort: dict[str, int] = {}
    version: str = ""
