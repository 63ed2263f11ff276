"""What every section of a configuration has in common, and what is wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from serving.errors import VigilError


class ConfigError(VigilError):
    """A configuration file is missing, unreadable or wrong; the message names file and key."""


class Section(BaseModel):
    """One section: frozen, without keys that nobody knows, and with finite numbers only.

    JSON, in which roles pass configurations on, has no others: they would arrive as null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
