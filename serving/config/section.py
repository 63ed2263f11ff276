"""What every section of a configuration has in common, and what is wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from serving.errors import VigilError


class ConfigError(VigilError):
    """A configuration file is missing, unreadable or wrong; the message names file and key."""


class Section(BaseModel):
    """One section: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
