"""A text is found wherever it stands in a file."""

import io

import pytest

from serving.log import byte_search
from serving.log.byte_search import holds


@pytest.mark.parametrize("block", [1, 2, 3, 5, 100])
def test_also_across_blocks(monkeypatch, block):
    monkeypatch.setattr(byte_search, "_BLOCK", block)
    for content in (b"abcsubjectabc", b"subject", b"subjesubject"):
        assert holds(io.BytesIO(content), b"subject")
    for content in (b"abcsub", b"", b"sub.ject"):
        assert not holds(io.BytesIO(content), b"subject")


def test_whoever_has_to_go_ends_it():
    with pytest.raises(ZeroDivisionError):
        holds(io.BytesIO(b"x"), b"y", lambda: 1 / 0)
