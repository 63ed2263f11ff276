"""Parts of what a model returns, by their names, and what is said of one that is not there."""

import collections
import dataclasses
from typing import NamedTuple

import pytest
import torch

from serving.errors import ModelFailed
from serving.models.named_outputs import by_name, no_output


class Pair(NamedTuple):
    start: int
    end: int


@dataclasses.dataclass(kw_only=True)
class Span:
    start: int
    end: int


class Keyed:
    def keys(self):
        return ["start", "end"]

    def __getitem__(self, name):
        return {"start": 1, "end": 2}[name]


@pytest.mark.parametrize(
    "result",
    [{"start": 1, "end": 2}, collections.OrderedDict(start=1, end=2), Pair(1, 2),
     Span(start=1, end=2), Keyed()],
    ids=lambda result: type(result).__name__,
)  # fmt: skip
def test_parts_by_name(result):
    assert by_name(result) == {"start": 1, "end": 2}


@pytest.mark.parametrize("result", [(1, 2), [1], None, Span, "text", torch.ones(2)])
def test_anything_else_has_no_names(result):
    assert by_name(result) is None


@pytest.mark.parametrize(
    ("returned", "shown"), [(["secret", "y"], "'secret', 'y'"), ([], "nothing")]
)
def test_a_missing_output_is_told_to_the_client_and_without_contents_to_the_log(returned, shown):
    error = no_output("net", "z", returned)
    assert isinstance(error, ModelFailed)
    assert error.message == (
        f"model 'net' failed: it returned {shown}, model.yaml declares 'z'; give outputs the "
        f"names that it returns"
    )
    assert error.cause is not None
    assert error.cause.told == ("model 'net' returned no output 'z', which model.yaml declares")
