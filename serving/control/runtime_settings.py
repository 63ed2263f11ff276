"""Keeps how gateways log and trace, in the words of Triton's `trace` and `logging` extensions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.channel.messages.settings import Settings, TraceSettings
from serving.errors import InvalidInput
from serving.telemetry.logs.switch import LogSettings

MOST: Final = (1 << 31) - 1
_NUMBER: Final = re.compile("-?[0-9]{1,10}")

_TRACE: Final[Mapping[str, Any]] = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
}
_LOG: Final[Mapping[str, Any]] = {
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


class Chosen(msgspec.Struct, frozen=True):
    """What somebody has set; the rest is the default.

    Attributes:
        number: grows with every change; 0 before the first.
        trace, log: settings for all models, and of the log, by name.
        trace_of: by model, what it has of its own.
    """

    number: int = 0
    trace: dict[str, Any] = {}
    trace_of: dict[str, dict[str, Any]] = {}
    log: dict[str, Any] = {}


class RuntimeSettings:
    """What was set, for all models and for single ones; the rest is the default.

    Args:
        folder: where gateways write traces.
        on_change: told the settings in effect after every change.

    Attributes:
        chosen: what was set; whoever replaces this book can take it over (`restore`).
    """

    def __init__(self, folder: Path, on_change: Callable[[Settings], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self.chosen = Chosen()

    def trace(self, model: str, changes: Mapping[str, Any] | None) -> dict[str, Any]:
        """Change trace settings, if any are given, and return those in effect.

        Args:
            model: empty for what all models follow that have no settings of their own.
            changes: by name; None clears one, so that it follows the default, or for a model
                what is set for all.

        Raises:
            InvalidInput: one is unknown, wrong, or cannot be changed while the server runs.
        """
        if changes := _without_mode(changes or {}):
            known = self.chosen
            own = known.trace_of.get(model, {}) if model else known.trace
            changed = _changed(own, changes, _read_trace, ("trace_file",))
            if model:
                others = {name: each for name, each in known.trace_of.items() if name != model}
                self._change(trace_of={**others, model: changed} if changed else others)
            else:
                self._change(trace=changed)
        return {
            **_TRACE,
            **self.chosen.trace,
            **self.chosen.trace_of.get(model, {}),
            "trace_file": str(self._folder / "<gateway>.jsonl"),
            "trace_mode": "triton",
        }

    def logging(self, changes: Mapping[str, Any] | None) -> dict[str, Any]:
        """Change log settings, if any are given, and return those in effect.

        Raises:
            InvalidInput: as for `trace`.
        """
        if changes:
            self._change(log=_changed(self.chosen.log, changes, _read_log, ("log_file",)))
        return {"log_file": "", **_LOG, **self.chosen.log}

    def restore(self, chosen: Chosen) -> None:
        """Take over what another book has held; to gateways that know it nothing changes."""
        self.chosen = chosen
        self._publish()

    def _change(self, **changed: dict[str, Any]) -> None:
        # The number grows also over a control plane that is replaced.
        self.chosen = msgspec.structs.replace(self.chosen, number=time.time_ns(), **changed)
        self._publish()

    def _publish(self) -> None:
        chosen = self.chosen
        self._on_change(
            Settings(
                chosen.number,
                LogSettings(**{**_LOG, **chosen.log}),
                _effective(chosen.trace),
                {
                    model: _effective({**chosen.trace, **own})
                    for model, own in chosen.trace_of.items()
                },
                str(self._folder),
            )
        )


def _effective(own: Mapping[str, Any]) -> TraceSettings:
    given = {**_TRACE, **own}
    return TraceSettings(
        timestamps="TIMESTAMPS" in given["trace_level"],
        rate=int(given["trace_rate"]),
        count=int(given["trace_count"]),
        log_frequency=int(given["log_frequency"]),
        tensors="TENSORS" in given["trace_level"],
    )


def _without_mode(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes without `trace_mode`, of which there is one.

    Raises:
        InvalidInput: another is asked for.
    """
    kept = dict(changes)
    if kept.pop("trace_mode", None) not in (None, "triton", ["triton"], []):
        raise InvalidInput(
            "trace_mode must be triton, which writes files; traces over OpenTelemetry are not "
            "offered"
        )
    return kept


def _changed(
    known: Mapping[str, Any],
    changes: Mapping[str, Any],
    read: Callable[[str, Any], Any],
    fixed: tuple[str, ...],
) -> dict[str, Any]:
    changed = dict(known)
    for name, value in changes.items():
        if name in fixed:
            raise InvalidInput(f"{name} is the server's own and cannot be changed over the network")
        if value is None or value == []:
            read(name, None)
            changed.pop(name, None)
        else:
            changed[name] = read(name, value)
    return changed


def _read_trace(name: str, value: Any) -> Any:
    if name not in _TRACE:
        raise InvalidInput(f"unknown trace setting '{name[:40]}'; there are {', '.join(_TRACE)}")
    if value is None:
        return None
    if name == "trace_level":
        levels = value if isinstance(value, list) else [value]
        if levels != ["OFF"] and not all(level in ("TIMESTAMPS", "TENSORS") for level in levels):
            raise InvalidInput("trace_level must be OFF alone, or TIMESTAMPS, TENSORS or both")
        # Each once, in the order in which Triton tells them.
        return sorted(set(levels), reverse=True)
    lowest = {"trace_rate": 1, "trace_count": -1, "log_frequency": 0}[name]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    # `int` alone would also take "+1", "1_0", blanks and digits of any script.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= MOST:
        raise InvalidInput(f"{name} must be a whole number from {lowest} to {MOST}")
    return str(value)


def _read_log(name: str, value: Any) -> Any:
    if name not in _LOG:
        raise InvalidInput(f"unknown log setting '{name[:40]}'; there are {', '.join(_LOG)}")
    if value is None:
        return None
    if name == "log_format":
        if value not in ("default", "ISO8601"):
            raise InvalidInput("log_format must be default or ISO8601")
    elif name == "log_verbose_level":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            raise InvalidInput(f"log_verbose_level must be a whole number from 0 to {MOST}")
    elif not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value
