from typing import Annotated

import pytest

from serving.config import ConfigError, parse
from serving.config.one_of import OneOf
from serving.config.section import Section

NAMES = ["red", "blue", "green"]


class Paint(Section):
    colour: Annotated[str, OneOf(lambda: NAMES)] = "red"


@pytest.mark.parametrize("wrong", ["pink", "", "Red", 3, None, ["red"], True])
def test_anything_else_is_refused_in_one_sentence_that_lists_them(wrong):
    with pytest.raises(ConfigError) as caught:
        parse(Paint, {"colour": wrong}, "f")
    assert caught.value.message == "f: colour: Input should be 'red', 'blue' or 'green'"


def test_names_are_asked_for_when_something_is_checked():
    assert parse(Paint, {"colour": "blue"}, "f").colour == "blue"
    assert Paint.model_validate_json('{"colour": "green"}').colour == "green"
    NAMES.append("pink")
    try:
        assert parse(Paint, {"colour": "pink"}, "f").colour == "pink"
    finally:
        NAMES.remove("pink")
