"""What is wrong with a configuration: one sentence that names the key and what may stand there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def first_problem(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return the first problem that pydantic found while it read a `kind`.

    A key that does not exist comes before one that is missing: it is most often its misspelling.
    """
    found = error.errors(include_url=False)
    unknown = (one for one in found if one["type"] == "extra_forbidden")
    first = next(unknown, None) if found[0]["type"] == "missing" else None
    first = first or found[0]
    place = first["loc"]
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_instead(str(place[-1]), _keys(kind, place[:-1]))}"
    if first["type"] == "missing":
        return f"{key}: is missing, and has no default"
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key + ': ' if key else ''}must be a mapping of keys to values"
    message: str = first["msg"]
    return f"{key + ': ' if key else ''}{message.removeprefix('Value error, ')}"


def _instead(wrong: str, keys: Sequence[str]) -> str:
    close = get_close_matches(wrong, keys, 1, 0.7)
    if close and close[0] != wrong:
        return f"; did you mean '{close[0]}'?"
    return f"; there are {', '.join(keys)}" if keys else ""


def _keys(kind: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at `place`."""
    kinds: list[type[BaseModel]] = [kind]
    for part in place:
        fields = [one.model_fields[part] for one in kinds if part in one.model_fields]
        if fields:
            kinds = [section for field in fields for section in _sections(field.annotation)]
        elif isinstance(part, str):  # the name that chooses one of several sections; else an index
            kinds = [one for one in kinds if _is_named(one, part)] or kinds
    return list(dict.fromkeys(name for one in kinds for name in one.model_fields))


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _is_named(kind: type[BaseModel], name: str) -> bool:
    return "name" in kind.model_fields and name in get_args(kind.model_fields["name"].annotation)
