"""What errors say, whatever they were made from, and how they are made again."""

from __future__ import annotations

from itertools import count

import pytest

from serving.errors import (
    InvalidInput,
    ModelFailed,
    QueueFull,
    VigilError,
    cause_of,
    listed,
    named,
    printable,
    unknown_model,
)
from serving.telemetry.logs.causes import Cause

CAUSE = Cause("KeyError")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("größer, 大", "größer, 大"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31m\0", "\\x1b[31m\\x00"),
        ("\u2028\u202e\udcff", "\\u2028\\u202e\\udcff"),
    ],
    ids=ascii,
)
def test_a_message_stays_one_line(text: str, shown: str) -> None:
    error = InvalidInput(text)
    assert (printable(text), error.message, str(error)) == (shown, shown, shown)


@pytest.mark.parametrize(("logged", "again", "told"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_an_error_made_anew_says_the_same_and_holds_no_frame(
    logged: bool, again: bool, told: bool
) -> None:
    with pytest.raises(QueueFull) as caught:
        raise QueueFull("a\nb", retry_after_s=0.0)
    error = caught.value
    error.cause, error.logged, error.batched = CAUSE, bool(logged), True
    anew = error.anew(logged=bool(again))
    assert type(anew) is QueueFull
    assert (anew.message, anew.retry_after_s, anew.cause) == ("a\\nb", 0.0, CAUSE)
    assert (anew.logged, anew.batched, anew.__traceback__) == (told, False, None)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("QueueFull", QueueFull),
        ("VigilError", VigilError),
        ("Nobody", ModelFailed),
        ("", ModelFailed),
        ("Cause", ModelFailed),
        ("named", ModelFailed),
        ("__name__", ModelFailed),
    ],
)
def test_only_a_class_of_errors_is_found_by_its_name(kind: str, found: type) -> None:
    error = named(kind, "oh", 2.5, CAUSE)
    assert type(error) is found
    assert (error.message, error.retry_after_s, error.cause) == ("oh", 2.5, CAUSE)


def test_the_log_is_told_of_what_an_error_replaces() -> None:
    error = ModelFailed("its text")
    assert cause_of(error) is None
    error.__context__ = KeyError("secret")
    context = cause_of(error)
    assert context is not None
    assert context.type == "KeyError"
    error.__cause__ = OSError("secret")
    told = cause_of(error)
    assert told is not None
    assert told.type == "OSError"
    error.cause = CAUSE
    assert cause_of(error) is CAUSE


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], "none"),
        (["a", 2], "'a', '2'"),
        (["x" * 81], f"'{'x' * 80}'"),
        (range(10), ", ".join(f"'{n}'" for n in range(10))),
        (range(11), ", ".join(f"'{n}'" for n in range(10)) + ", …"),
        (count(), ", ".join(f"'{n}'" for n in range(10)) + ", …"),
    ],
    ids=["none", "two", "long", "ten", "eleven", "endless"],
)
def test_names_in_a_message_are_bounded(names: object, shown: str) -> None:
    assert listed(names) == shown  # type: ignore[arg-type]


def test_what_stands_where_there_are_no_names() -> None:
    assert listed([], "nobody") == "nobody"


def test_an_unknown_model_begins_as_triton_s_clients_expect() -> None:
    assert unknown_model("m").message == "Request for unknown model: 'm' is not found"
