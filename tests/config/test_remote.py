"""The section `remote` of `model.yaml`: whose credentials another server gets."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import Remote


def test_the_word_means_the_section() -> None:
    url = "https://models.example.com"
    word = Remote.model_validate({"url": url, "credentials": "passthrough"})
    section = Remote.model_validate({"url": url, "credentials": {"passthrough": True}})
    assert word == section
    assert Remote.model_validate_json(word.model_dump_json()) == word


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({}, "give either `env` or `file`"),
        ({"passthrough": True, "env": "KEY"}, "give either `env` or `file`"),
        ({"env": "KEY", "file": "key"}, "give either `env` or `file`"),
        ({"passthrough": True, "header": "x-api-key"}, "take `header` and `scheme` out"),
        ({"passthrough": True, "scheme": "Basic"}, "take `header` and `scheme` out"),
        ("passthru", "RemoteCredentials"),
    ],
)
def test_what_is_wrong_is_said(credentials: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Remote.model_validate({"url": "https://a", "credentials": credentials})
