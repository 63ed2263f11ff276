import os
import time
import uuid

import pytest

from serving.errors import InvalidInput
from serving.protocol.ids import MAX_ID, chosen_id, new_request_id


def test_is_a_uuid_of_version_7_that_tells_the_time():
    before = time.time_ns() // 1_000_000
    identity = uuid.UUID(new_request_id())
    after = time.time_ns() // 1_000_000
    assert identity.version == 7
    assert identity.variant == uuid.RFC_4122
    assert before <= identity.int >> 80 <= after


def test_never_repeats():
    assert len({new_request_id() for _ in range(5000)}) == 5000


def test_a_forked_child_makes_ids_of_its_own():
    new_request_id()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writable, new_request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(readable, 100).decode()
    os.close(readable)
    os.close(writable)
    assert theirs[14:] != new_request_id()[14:]


@pytest.mark.parametrize(
    ("own", "header", "chosen"), [("a", "b", "a"), ("", "b", "b"), (None, "b", "b"), ("a", "", "a")]
)
def test_the_id_in_the_message_wins(own, header, chosen):
    assert chosen_id(own, header) == chosen


def test_makes_an_id_when_there_is_none():
    assert uuid.UUID(chosen_id("", None)).version == 7


def test_a_long_id_is_refused():
    assert chosen_id("x" * MAX_ID, None)
    with pytest.raises(InvalidInput, match="longer than"):
        chosen_id("x" * (MAX_ID + 1), None)
