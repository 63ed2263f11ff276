"""The OpenAPI description of the HTTP routes, as `GET /openapi.json` gives it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from serving.gateway.metadata import VERSION

SOURCE: Final = Path(__file__).with_name("openapi.yaml")


def description() -> dict[str, Any]:
    """Return the description, with the version that serves it."""
    found: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    del found["x-errors"]  # only there to be referred to within the file
    found["info"]["version"] = VERSION
    return found


@lru_cache(maxsize=4)
def encoded(root_path: str = "") -> bytes:
    """Return the description as JSON; made when it is first asked for.

    Args:
        root_path: the prefix under which the application is mounted, without a slash at its end.
    """
    found = description()
    if root_path:
        found["servers"] = [{"url": root_path}]
    return msgspec.json.encode(found)
