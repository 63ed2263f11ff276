"""What one request gets. A file of its own: structs are interpreted, `pending` is compiled."""

from __future__ import annotations

import msgspec
import numpy as np

from serving.channel.messages.inference import ResponseParameters


class Answer(msgspec.Struct):
    """What one request gets: its rows of every output, the guards that flagged it, parameters."""

    outputs: dict[str, np.ndarray]
    flags: list[str]
    response_parameters: ResponseParameters | None = None

    @property
    def upstream(self) -> str:
        """Version that another server gave it; empty where it is the served one."""
        return self.response_parameters.version if self.response_parameters is not None else ""
