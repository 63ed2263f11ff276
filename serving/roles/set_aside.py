"""State that cannot be read is kept under another name, for people to look at, and never lost."""

from __future__ import annotations

import itertools
import logging
import time
from pathlib import Path

_log = logging.getLogger("vigil.state")


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
    _log.error("%s cannot be used: %s; it is kept as %s and state begins anew", path, why, kept)
    return kept
