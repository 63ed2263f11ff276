"""How the directory says whether and how a model is logged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.config import Log, ModelLog
from serving.control.served_model import config_of, inventory, served_model
from serving.models.repository.folder import ModelRepository


@pytest.mark.parametrize(
    ("own", "log", "expected"),
    [
        ("", None, None),
        ("log: {sample: 1}\n", None, None),
        ("", Log(), ModelLog(capture="full", sample=1)),
        ("log: {capture: none}\n", Log(sample=0.5), ModelLog(capture="none", sample=0.5)),
        ("log: {sample: 0}\n", Log(capture="features"), ModelLog(capture="features", sample=0)),
    ],
)
def test_what_is_in_force_is_told(
    folder: Path,
    put: Callable[..., None],
    own: str,
    log: Log | None,
    expected: ModelLog | None,
) -> None:
    put("1")
    config = folder / "m" / "model.yaml"
    config.write_text(config.read_text() + own)
    repository = ModelRepository(folder, log=log)
    (served,) = inventory(repository).models
    assert config_of(served).log == expected
    assert served == served_model(repository.get("m"), log)
    # The server's section says nothing of what the version is.
    assert served.revision == served_model(repository.get("m")).revision
