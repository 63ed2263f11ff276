"""The words of a condition."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Kind = Literal["name", "number", "text", "operator", "end"]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
      | (?P<text>'[^']*'|"[^"]*")
      | `(?P<quoted>[^`]+)`
      | (?P<name>[^\W\d]\w*(?:\.\w+)*(?:\[\d+(?:,\d+)*\])?)
      | (?P<operator><=|>=|==|!=|[-+*/<>=(),\[\]])
    )""",
    re.VERBOSE,
)
WORDS: Final = frozenset({"and", "or", "not", "in", "is", "missing", "true", "false"})


class ExpressionError(ValueError):
    """A condition that cannot be read; the message says why, in a sentence."""


class Token(NamedTuple):
    """A word: what it is, as it counts, and where it begins. A sign is a word of its own."""

    kind: Kind
    value: str
    at: int


def tokens(text: str) -> list[Token]:
    """Return the words of a condition, and an end.

    Raises:
        ExpressionError: something in it is no word.
    """
    found: list[Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].strip()[:20]
            raise ExpressionError(f"'{text}': what begins with '{rest}' is not understood")
        found.append(_token(match))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def _token(match: re.Match[str]) -> Token:
    kind = str(match.lastgroup)
    value = match[kind]
    at = match.start(kind)
    if kind == "quoted":
        return Token("name", value, at)
    if kind == "text":
        return Token("text", value[1:-1], at)
    if kind == "name" and value.lower() in WORDS:
        return Token("operator", value.lower(), at)
    return Token(kind, value, at)  # type: ignore[arg-type]
