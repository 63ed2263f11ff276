"""What may stand in an order to forget a subject."""

from __future__ import annotations

from typing import Final

import msgspec

from serving.channel.messages.observation import ForgetMeta
from serving.errors import InvalidInput

MOST_CHARACTERS: Final = 4096
MOST_OF_ORDER: Final = 64

_decode = msgspec.json.Decoder(ForgetMeta).decode


def read_forget(body: bytes) -> ForgetMeta:
    """Return the order in a body, JSON: `order`, `subject`, and optionally `by` and `model`.

    Raises:
        InvalidInput: it is none.
    """
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body must be an object with order and subject: {error}") from None
    for name, text, most in (
        ("order", asked.order, MOST_OF_ORDER),
        ("subject", asked.subject, MOST_CHARACTERS),
        ("by", asked.by, MOST_CHARACTERS),
    ):
        if not text:
            raise InvalidInput(f"{name} is empty; give a text")
        if len(text) > most:
            raise InvalidInput(f"{name} has more than {most} characters; shorten it")
    return asked
