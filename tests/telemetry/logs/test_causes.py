"""What an exception tells the log: type and place, in any combination, and no value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.telemetry.logs.causes import MOST_FRAMES, describe

SECRET = "4711.25"
Caught = Callable[[Callable[[], None]], BaseException]


def plain() -> None:
    row = [SECRET]
    raise ValueError(f"bad {row}")


def from_another() -> None:
    try:
        plain()
    except ValueError as error:
        raise RuntimeError(f"cannot: {error}") from error


def while_handling() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError(str(error))  # noqa: B904 - the chain without `from` is what is tested


def silenced() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError(str(error)) from None


def group() -> None:
    found = []
    for raises in (plain, from_another):
        try:
            raises()
        except Exception as error:
            found.append(error)
    raise ExceptionGroup(f"bad {SECRET}", [*found, ExceptionGroup(SECRET, [ValueError(SECRET)])])


def noted() -> None:
    error = ValueError(SECRET)
    error.add_note(f"the row was {SECRET}")
    raise error


class Talkative(Exception):
    def __str__(self) -> str:
        return SECRET

    __repr__ = __str__


def own_class() -> None:
    raise Talkative(SECRET)


EVERY = [plain, from_another, while_handling, silenced, group, noted, own_class]


@pytest.mark.parametrize("raises", EVERY, ids=lambda each: each.__name__)
def test_no_value_is_told(raises: Callable[[], None], caught: Caught) -> None:
    told = describe(caught(raises))
    assert SECRET not in repr(told)
    assert __file__ in told.exception
    assert raises.__name__ in told.exception


def test_type_place_and_source_are_told(caught: Caught) -> None:
    told = describe(caught(plain))
    assert told.type == "ValueError"
    line = plain.__code__.co_firstlineno + 2
    assert told.location == f"test_causes.py:{line}:plain"
    assert f"  {__file__}:{line}:plain\n    raise ValueError(" in told.exception
    assert told.exception.splitlines()[-1] == "ValueError"


def test_what_led_to_it_is_told_first(caught: Caught) -> None:
    lines = describe(caught(from_another)).exception.splitlines()
    assert lines.index("ValueError") < lines.index("RuntimeError")
    assert any("direct cause" in line for line in lines)
    handling = describe(caught(while_handling)).exception
    assert "During handling" in handling
    assert "ValueError" not in describe(caught(silenced)).exception.replace("raise", "")[:40]


def test_members_of_a_group_are_told(caught: Caught) -> None:
    told = describe(caught(group)).exception
    assert told.count("  | ValueError") >= 2
    assert "  + 3 of 3" in told
    assert "  |   | ValueError" in told


def test_a_class_outside_builtins_is_told_with_its_module(caught: Caught) -> None:
    assert describe(caught(own_class)).type.endswith("test_causes.Talkative")


def test_the_same_fault_makes_the_same_cause(caught: Caught) -> None:
    assert describe(caught(plain)) is describe(caught(plain))


def test_deep_recursion_is_cut_in_the_middle(caught: Caught) -> None:
    def deeper(n: int) -> None:
        deeper(n + 1)

    told = describe(caught(lambda: deeper(0)))
    assert told.type == "RecursionError"
    assert told.exception.count("\n") < 2 * MOST_FRAMES + 8
    assert "frames left out" in told.exception


def test_a_long_chain_and_a_wide_group_are_bounded(caught: Caught) -> None:
    def chain() -> None:
        error: Exception = ValueError(SECRET)
        for _ in range(100):
            after = ValueError(SECRET)
            after.__cause__ = error
            error = after
        raise error

    assert describe(caught(chain)).exception.count("direct cause") < 20

    def wide() -> None:
        raise ExceptionGroup("wide", [ValueError(SECRET) for _ in range(1000)])

    told = describe(caught(wide)).exception
    assert len(told) < 10_000
    assert "more" in told


def test_a_chain_that_bites_its_tail_ends(caught: Caught) -> None:
    one, two = ValueError(SECRET), KeyError(SECRET)
    one.__cause__, two.__cause__ = two, one
    told = describe(one)
    assert told.exception.splitlines().count("KeyError") == 1


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert describe(ValueError(SECRET)).location == ""
    assert describe(ValueError(SECRET)).exception == "ValueError"
