"""The OpenAPI description of the HTTP routes, as `GET /openapi.json` gives it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from serving.gateway.metadata import SERVER

SOURCE: Final = Path(__file__).with_name("openapi.yaml")


def description() -> dict[str, Any]:
    """Return the description, with the version that serves it."""
    found: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    del found["x-errors"]  # only there to be referred to within the file
    found["info"]["version"] = SERVER.version
    return found


@cache
def encoded() -> bytes:
    """Return the description as JSON; made when it is first asked for."""
    return msgspec.json.encode(description())
