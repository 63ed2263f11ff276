"""One replica as a process: `python -m loadtest.gpu_replica MODELS NAME ADDRESS REGISTRY`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from serving.channel.messages.directory import ServedModel
from serving.errors import VigilError
from serving.models.repository.folder import ModelRepository
from serving.replica import role as replica


def main(models: str, name: str, address: str, registry: str) -> None:
    """Be the replica until SIGTERM; an error is the last line of the output."""
    logging.basicConfig(level=logging.INFO)
    entry = ModelRepository(Path(models)).get(name)
    config = entry.config.model_dump_json().encode()
    served = ServedModel(entry.name, entry.version, config, str(entry.directory), entry.example)
    try:
        replica.run(served, "replica", address, registry, None)
    except VigilError as error:
        raise SystemExit(error.message) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
