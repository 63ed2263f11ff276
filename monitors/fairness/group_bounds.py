"""Bounds of what is counted, and told, by group."""

from __future__ import annotations

from typing import Final

SMALLEST_GROUP: Final = 20
"""Groups with fewer rows take no part in any figure: it could say something about a person."""

MOST_GROUPS: Final = 256
"""Groups counted per attribute, whatever text clients send."""
