"""What may stand in an order to forget; anything else is refused with the field's name."""

from __future__ import annotations

import pytest

from serving.admin.forget_body import read_forget
from serving.channel.messages.observation import ForgetMeta
from serving.errors import InvalidInput


def test_orders() -> None:
    asked = read_forget(b'{"order": "1", "subject": "a"}')
    assert asked == ForgetMeta("1", "a", "client_id", "")
    full = b'{"order": "1", "subject": "a", "by": "in_x", "model": "m"}'
    assert read_forget(full) == ForgetMeta("1", "a", "in_x", "m")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body must be an object with order and subject"),
        (b"[]", "the body must be an object"),
        (b'{"order": "1"}', "`subject`"),
        (b'{"order": "1", "subject": 7}', "subject"),
        (b'{"order": "1", "subject": "a", "models": "m"}', "`models`"),
        (b'{"order": "1", "subject": "\xff"}', "the body must be an object"),
        (b'{"order": "1", "subject": "\\ud800"}', "the body must be an object"),
        (b'{"order": "", "subject": "a"}', "^order is empty; give a text"),
        (b'{"order": "1", "subject": ""}', "^subject is empty; give a text"),
        (b'{"order": "1", "subject": "a", "by": ""}', "^by is empty; give a text"),
        (b'{"order": "%s", "subject": "a"}' % (b"1" * 65), "^order has more than 64 characters"),
        (b'{"order": "1", "subject": "%s"}' % (b"1" * 4097), "^subject has more than 4096"),
    ],
)
def test_others(body: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_forget(body)
