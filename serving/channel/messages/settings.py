"""How gateways log and trace, as the control plane tells them with the directory."""

from __future__ import annotations

import msgspec

from serving.telemetry.logs.switch import LogSettings


class TraceSettings(msgspec.Struct, frozen=True):
    """Triton's trace settings that can be changed while the server runs.

    Attributes:
        timestamps: whether the times of requests are traced.
        rate: every so many-th request is.
        count: how many each gateway traces from now on; -1 for no bound.
        log_frequency: traces that gather before they are written; 0 writes each at once.
        tensors: whether the tensors of requests and answers are traced.
    """

    timestamps: bool = False
    rate: int = 1000
    count: int = -1
    log_frequency: int = 0
    tensors: bool = False


class Settings(msgspec.Struct, frozen=True):
    """Everything that can be set; models that `trace_of` does not name follow `trace`.

    Attributes:
        number: grows with every change, so that an equal order given again counts anew.
        folder: where traces go, one file for each gateway.
    """

    number: int = 0
    log: LogSettings = LogSettings()
    trace: TraceSettings = TraceSettings()
    trace_of: dict[str, TraceSettings] = {}
    folder: str = ""
