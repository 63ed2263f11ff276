"""The list of events in the docs, held against those in the code."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from serving.telemetry.logs.events import Event

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| `([a-z_]+)` \| ([a-z ]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


def test_docs_tell_of_every_event_with_its_level() -> None:
    told = dict(ROW.findall((ROOT / "docs" / "logs.md").read_text()))
    known = {event.label: logging.getLevelName(event.level).lower() for event in Event}
    known[Event.LIBRARY_LOG.label] = "its own"
    assert told == known


def test_every_event_is_used() -> None:
    sources = [path for path in (ROOT / "serving").rglob("*.py") if path.name != "events.py"]
    used = set(re.findall(r"\bEvent\.([A-Z_]+)", "".join(path.read_text() for path in sources)))
    assert used == {event.name for event in Event}


def test_nothing_is_logged_beside_them() -> None:
    """Else it would have no name, no limit, and perhaps an exception's text."""
    wrote = re.compile(r"basicConfig|\b_?log(?:ger)?\.(?:debug|info|warning|error|exception)")
    for path in (ROOT / "serving").rglob("*.py"):
        assert not wrote.search(path.read_text()), path
