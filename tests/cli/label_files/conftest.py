"""Reading a file with labels as the command does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.cli.label_files.opening import open_labels
from serving.cli.label_files.rows import Form, WrongFile


@pytest.fixture
def labels() -> Callable[..., list[dict[str, Any]]]:
    """Returns the labels in a file."""

    def read(file: Path, **form: Any) -> list[dict[str, Any]]:
        with open_labels(str(file), Form(**form)) as opened:
            return [label for _, label in opened.labels()]

    return read


@pytest.fixture
def wrong(labels) -> Callable[..., tuple[int, str]]:
    """Returns how many labels come before what is wrong with a file, and the words for it."""

    def read(file: Path, **form: Any) -> tuple[int, str]:
        found: list[object] = []

        def consume() -> None:
            with open_labels(str(file), Form(**form)) as opened:
                found.extend(opened.labels())  # keeps what came before an error

        with pytest.raises(WrongFile) as raised:
            consume()
        assert "\n" not in raised.value.message
        return len(found), raised.value.message.replace(f"{file.parent}/", "")

    return read
