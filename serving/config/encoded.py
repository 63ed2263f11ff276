"""A model's configuration as the directory carries it: JSON there, parsed once here."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from serving.config.model import ModelConfig

MOST_DECODED: Final = 1024
"""Configurations that a process keeps parsed; what is served hardly ever has more versions."""


def encode_config(config: ModelConfig) -> bytes:
    """Return a configuration as the JSON that `ServedModel.config` carries."""
    return msgspec.json.encode(config.model_dump(mode="json", exclude_defaults=False))


@lru_cache(MOST_DECODED)
def decode_config(encoded: bytes) -> ModelConfig:
    """Return the configuration that `encode_config` wrote; all who ask share one, which is frozen.

    Parsing takes a few hundred microseconds, and every directory brings the same bytes again.

    Raises:
        ValueError: it is no configuration of this release.
    """
    return ModelConfig.model_validate_json(encoded)
