"""What an exception may tell the log: its type and where it was raised, and no value.

The text of an exception may quote a request, as `ValueError: could not convert 'Anna'` does, and so
may its notes and the values of local variables. File, line, function and the line of source are
those of the program, and the same for every request.
"""

from __future__ import annotations

import linecache
import traceback
from functools import lru_cache
from pathlib import PurePath
from typing import Final, NamedTuple

import msgspec

MOST_FRAMES: Final = 40
"""Frames of one exception that are shown; the outermost and the innermost ones."""
_OUTERMOST: Final = 10
MOST_CHAINED: Final = 8
"""Exceptions that led to one, and members of a group, that are shown."""
MOST_SOURCE: Final = 160
_DEPTH: Final = 4
_LED_TO: Final = {
    True: "The above exception was the direct cause of the following exception:",
    False: "During handling of the above exception, another exception occurred:",
}


class Cause(msgspec.Struct, array_like=True, frozen=True):
    """An exception without its values.

    Attributes:
        type: name of its class, with the module unless that is `builtins`.
        location: `file:line:function` where it was raised; empty when nothing tells.
        exception: type and frames of it and of what led to it, several lines; may be empty.
        told: what happened, one clause without values, where the type alone does not tell it.
    """

    type: str
    location: str = ""
    exception: str = ""
    told: str = ""


class _Outline(NamedTuple):
    """What a cause is rendered from; equal for the same exception raised again."""

    type: str
    frames: tuple[tuple[str, int, str], ...]
    before: _Outline | None
    direct: bool
    members: tuple[_Outline, ...]
    unshown: int


def describe(error: BaseException) -> Cause:
    """Return what may be told of an exception."""
    return _cause(_outline(error, {id(error)}, _DEPTH))


def origin_of(error: BaseException) -> BaseException | None:
    """Return the exception that `error` was made from, if there is one."""
    return error.__cause__ or error.__context__


def _outline(error: BaseException, seen: set[int], depth: int) -> _Outline:
    frames = [
        (code.co_filename, line, code.co_qualname)
        for code, line in (
            (frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)
        )
    ]
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    led: _Outline | None = None
    if before is not None and id(before) not in seen and len(seen) < MOST_CHAINED:
        seen.add(id(before))
        led = _outline(before, seen, depth)
    members: tuple[_Outline, ...] = ()
    unshown = 0
    if isinstance(error, BaseExceptionGroup):
        shown = error.exceptions[:MOST_CHAINED] if depth else ()
        members = tuple(_outline(each, {id(each)}, depth - 1) for each in shown)
        unshown = len(error.exceptions) - len(shown)
    direct = error.__cause__ is not None
    return _Outline(_name(type(error)), tuple(frames), led, direct, members, unshown)


def _name(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


@lru_cache(maxsize=256)
def _cause(outline: _Outline) -> Cause:
    return Cause(outline.type, _location(outline), "\n".join(_lines(outline)))


def _location(outline: _Outline) -> str:
    if not outline.frames:
        return ""
    file, line, function = outline.frames[-1]
    return f"{PurePath(file).name}:{line}:{function}"


def _lines(outline: _Outline) -> list[str]:
    lines: list[str] = []
    if outline.before is not None:
        lines += [*_lines(outline.before), "", _LED_TO[outline.direct], ""]
    if outline.frames:
        lines.append("Traceback (most recent call last):")
    frames = list(outline.frames)
    if (gone := len(frames) - MOST_FRAMES) > 0:
        inner = frames[_OUTERMOST + gone :]
        lines += _shown(frames[:_OUTERMOST])
        lines.append(f"  ... {gone} frames left out ...")
        lines += _shown(inner)
    else:
        lines += _shown(frames)
    lines.append(outline.type)
    for number, member in enumerate(outline.members, 1):
        lines.append(f"  + {number} of {len(outline.members) + outline.unshown}")
        lines += [f"  | {line}" for line in _lines(member)]
    if outline.unshown:
        lines.append(f"  + {outline.unshown} more")
    return lines


def _shown(frames: list[tuple[str, int, str]]) -> list[str]:
    lines = []
    for file, line, function in frames:
        lines.append(f"  {file}:{line}:{function}")
        if source := linecache.getline(file, line).strip():
            lines.append(f"    {source[:MOST_SOURCE]}")
    return lines
