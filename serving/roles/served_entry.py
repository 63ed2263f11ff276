"""The directory's models as entries of the repository; imports no torch."""

from __future__ import annotations

from pathlib import Path

from serving.channel.messages.directory import ServedModel
from serving.config.encoded import decode_config
from serving.models.repository.folder import ModelEntry


def served_entry(served: ServedModel) -> ModelEntry:
    """Return the repository entry that a directory's model stands for."""
    return ModelEntry(
        served.name,
        served.version,
        Path(served.directory),
        decode_config(served.config),
        served.example,
    )
