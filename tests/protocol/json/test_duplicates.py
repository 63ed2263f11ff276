"""Keys that stand twice: found in any object, however they are written; nothing else is refused."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput
from serving.protocol.json.duplicates import MOST, refuse_duplicates


def refusal(text: bytes, **most: int) -> str:
    with pytest.raises(InvalidInput) as told:
        refuse_duplicates(text, "the body", **most)
    assert "\n" not in told.value.message
    return told.value.message


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b"1",
        b' {"a":1,"b":2,"A":3,"":4} ',
        b'{"a":{"a":{"a":1}}}',
        b'[{"a":1},{"a":1}]',
        b'{"a":"a","b":"a","c":["b","b"],"d":"\\"e\\":1,\\"e\\":1"}',
        '{"\u00e9":1,"e\u0301":2}'.encode(),  # equal to the eye, not to a parser
        b'{"a\\u0000":1,"a\\u0000b":2}',
        b'{"n":%b,"f":1e999,"m":-0.0}' % (b"9" * 5000),
    ],
)
def test_keys_that_differ(text: bytes) -> None:
    refuse_duplicates(text, "the body")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"b":2,"c":3,"b":4,"a":5}', "a"),
        (b'{"b":1,"a":2,"a":3}', "a"),
        (b'{"":1,"":2}', ""),
        (b'[[{"x":[{"a":1,"a":2}]}]]', "a"),
        (b'{"a":{"b":1,"b":2}}', "b"),
        (b'{"a":1,"\\u0061":2}', "a"),
        ('{"\u00e9":1,"\\u00e9":2}'.encode(), "\u00e9"),
        ('{"\U0001f600":1,"\\ud83d\\ude00":2}'.encode(), "\U0001f600"),
        (b'{"a\\n":1,"a\\n":2}', "a\\n"),
        (b'{"%b":1,"%b":2}' % (b"k" * 81, b"k" * 81), "k" * 80),
    ],
)
def test_a_key_that_stands_twice(text: bytes, key: str) -> None:
    assert refusal(text) == f"the body is not valid: the key '{key}' stands twice in one object"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b'{"a":1', "Expecting ',' delimiter: line 1 column 7 (char 6)"),
        (b"{} {}", "Extra data: line 1 column 4 (char 3)"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "it is nested too deeply"),
    ],
    ids=["nothing", "cut off", "two values", "lists", "objects"],
)
def test_what_is_no_json(text: bytes, problem: str) -> None:
    assert refusal(text) == f"the body is not valid: {problem}"


@pytest.mark.parametrize("text", [b'{"a":"\xff"}', b'{"\xc3":1}', b'"\xed\xa0\x80"', b'"\xc0\xaf"'])
def test_what_is_no_utf_8(text: bytes) -> None:
    assert refusal(text) == "the body is not valid: it is not valid UTF-8"


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
def test_an_encoding_that_no_other_reader_knows(encoding: str) -> None:
    assert refusal('{"a":1}'.encode(encoding)).startswith("the body is not valid: ")


def test_no_more_is_read_than_the_caller_says() -> None:
    text = b'{"a":1,"a":2}'
    assert "stands twice" in refusal(text, most=len(text))
    assert refusal(text, most=len(text) - 1) == (
        "the body has 13 bytes of names, parameters and unknown keys, more than the 12 that are "
        "read; leave out what is not needed"
    )


def test_a_quarter_of_a_mebibyte_is_read_unless_the_caller_says_otherwise() -> None:
    assert MOST == 256 * 1024
    refuse_duplicates(b'"' + b"a" * (MOST - 2) + b'"', "the body")
    assert "more than the 262144 that are read" in refusal(b'"' + b"a" * (MOST - 1) + b'"')
    refuse_duplicates(b'"' + b"a" * MOST + b'"', "the body", MOST + 2)
