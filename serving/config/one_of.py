"""A text of `model.yaml` that is a name from a list of descriptors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class OneOf:
    """Annotates a text that is one of several names.

    Attributes:
        names: what may stand there, asked whenever something is checked.
    """

    names: Callable[[], Sequence[str]]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check a value before it is known to be a text, so that there is one sentence for all."""
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def _check(self, value: object) -> object:
        names = self.names()
        if not isinstance(value, str) or value not in names:
            *others, last = (f"'{name}'" for name in names)
            raise ValueError(f"Input should be {', '.join(others)} or {last}")
        return value
