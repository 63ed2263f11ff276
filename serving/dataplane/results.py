"""What comes back for a batch, and what each of its requests gets.

Values only: structs stay interpreted where `batch` is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from serving.channel.inference import GuardResult, Remarks
from serving.logs.causes import Cause


class Answer(msgspec.Struct):
    """What one request gets: its rows of every output, the guards that flagged it, remarks."""

    outputs: dict[str, np.ndarray]
    flags: list[str]
    remarks: Remarks | None = None

    @property
    def upstream(self) -> str:
        """Version that another server gave it; empty where it is the served one."""
        return self.remarks.version if self.remarks is not None else ""


class BatchResult(msgspec.Struct):
    """A replica's answer to a batch.

    Attributes:
        outputs: rows of the requests that did not fail, in order, by output name.
        failed: message by position of the request.
        guards: decisions of the model guards; rows count over the whole batch.
        compute_ns, guard_ns: time spent in the model and in its guards.
        kinds: name of the domain error by position, where it is not `ModelFailed`.
        remarks: what a model on another server said beside the tensors, by position.
        causes: what the log may tell, by position, of errors that others raised.
    """

    outputs: Mapping[str, np.ndarray]
    failed: dict[int, str]
    guards: tuple[GuardResult, ...]
    compute_ns: int
    guard_ns: int
    kinds: dict[int, str] = {}
    remarks: dict[int, Remarks] = {}
    causes: dict[int, Cause] = {}
