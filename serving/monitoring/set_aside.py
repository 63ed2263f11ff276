"""State that cannot be read is kept under another name, for people to look at, and never lost."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def set_aside(path: Path, why: str) -> Path:
    """Rename a file to `<name>.<UTC time>.unreadable` and log it; returns the new path.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in itertools.count():
        more = f"-{number}" if number else ""
        kept = path.with_name(f"{path.name}.{stamp}{more}.unreadable")
        if not kept.exists():
            break
    path.rename(kept)
    said = f"{path} cannot be used: {why}; it is kept as {kept} and state begins anew"
    report(Event.STATE_UNREADABLE, said, file=str(path))
    return kept
