import io

import pytest

from serving.models.formats.protobuf_walk import Damaged, Walk

# Field 1 is the text "ab", field 2 the number 300, field 3 a fixed32, field 4 holds field 1 = "c".
MESSAGE = b"\x0a\x02ab" + b"\x10\xac\x02" + b"\x1d\x00\x00\x00\x00" + b"\x22\x03\x0a\x01c"


def test_fields_in_their_order():
    walk = Walk(io.BytesIO(MESSAGE))
    text, number = walk.inside(walk.whole(), 1, 2)
    assert walk.text(text) == "ab"
    assert number.value == 300
    (inner,) = walk.inside(walk.whole(), 4)
    assert [walk.text(field) for field in walk.inside(inner, 1)] == ["c"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MESSAGE[:-1], "ends where it should not"),
        (b"\x0a", "cut short"),
        (b"\x80" * 20, "has no end"),
        (b"\x00\x00", "ends where it should not"),
    ],
)
def test_what_is_no_message(content, why):
    walk = Walk(io.BytesIO(content))
    with pytest.raises(Damaged, match=why):
        list(walk.inside(walk.whole(), 1))


def test_a_number_is_no_message_and_no_text():
    walk = Walk(io.BytesIO(b"\x08\x05"))
    (number,) = walk.inside(walk.whole(), 1)
    with pytest.raises(Damaged, match="a number stands"):
        list(walk.inside(number, 1))
    with pytest.raises(Damaged, match="a name is too long"):
        walk.text(number)


def test_it_looks_only_so_often(monkeypatch):
    monkeypatch.setattr("serving.models.formats.protobuf_walk.MOST_FIELDS", 5)
    walk = Walk(io.BytesIO(MESSAGE))
    list(walk.inside(walk.whole(), 1))
    with pytest.raises(Damaged, match="too many parts"):
        list(walk.inside(walk.whole(), 1))
