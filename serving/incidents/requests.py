"""What clients may ask about incidents and do with them, as it comes over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec

from serving.channel.messages.incidents import (
    ACTIONS,
    MOST_LISTED,
    MOST_NOTE,
    STATES,
    IncidentOrder,
    IncidentQuery,
    State,
)
from serving.errors import InvalidInput, printable

_PARAMETERS: Final = ("state", "model", "limit")
_MOST_DIGITS: Final = 9
MOST_BODY: Final = 262_144


class _Body(msgspec.Struct):
    action: Any = None
    note: Any = ""


_decode = msgspec.json.Decoder(_Body).decode


def read_query(asked: Iterable[tuple[str, str]]) -> IncidentQuery:
    """Return which incidents are wanted.

    Args:
        asked: the query: `state`, several of them with commas or one after the other, `model`, and
            `limit`.

    Raises:
        InvalidInput: it asks for something else.
    """
    states: list[State] = []
    given: dict[str, str] = {}
    for name, value in asked:
        if name not in _PARAMETERS or name in given:
            told = printable(name[:40])
            raise InvalidInput(
                f"query parameter '{told}': there are {', '.join(_PARAMETERS)}; give each once, "
                "or several states"
            )
        if name == "state":
            states += [_state(each) for each in value.split(",")] if value else []
        else:
            given[name] = value
    return IncidentQuery(tuple(states), given.get("model", ""), _limit(given.get("limit")))


def _state(text: str) -> State:
    for state in STATES:
        if text == state:
            return state
    raise InvalidInput(
        f"query parameter 'state' is '{printable(text[:40])}'; give {', '.join(get_args(State))}"
    )


def _limit(text: str | None) -> int:
    if text is None:
        return IncidentQuery().limit
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        limit = int(text)
        if 1 <= limit <= MOST_LISTED:
            return limit
    raise InvalidInput(
        f"query parameter 'limit' is '{printable(text[:40])}'; give a number from 1 to "
        f"{MOST_LISTED}"
    )


def read_action(ident: str, body: bytes) -> IncidentOrder:
    """Return what is to be done with an incident.

    Args:
        ident: its id.
        body: JSON: `action`, and optionally `note`.

    Raises:
        InvalidInput: it is none.
    """
    if len(body) > MOST_BODY:
        raise InvalidInput(f"the body is longer than {MOST_BODY} bytes; shorten the note")
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            'the body must be a JSON object such as {"action": "acknowledge", "note": "on it"}'
        ) from None
    action = next((each for each in ACTIONS if each == asked.action), None)
    if action is None:
        raise InvalidInput(f"action must be one of {', '.join(ACTIONS)}")
    if not isinstance(asked.note, str) or len(asked.note) > MOST_NOTE:
        raise InvalidInput(f"note must be a text of at most {MOST_NOTE} characters")
    return IncidentOrder(ident, action, asked.note)
