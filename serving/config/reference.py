"""The configuration reference, written from the pydantic models so that it cannot be wrong.

`python -m serving.config.reference` writes it into docs/configuration.md between two markers, and
the tables of formats into docs/models.md. With `--check` it writes nothing and fails when the text
there is out of date.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from serving.config import ModelConfig, ServerConfig
from serving.config.formats.tables import formats_table, signatures_table
from serving.config.one_of import OneOf

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
FILES: Final[dict[str, type[BaseModel]]] = {"server": ServerConfig, "model": ModelConfig}
_TITLES: Final = {
    "server": "The server: `vigil.yaml`",
    "model": "A model: `<models>/<name>/model.yaml`",
}
_PLAIN: Final = {
    str: "text", int: "integer", float: "number", bool: "`true` or `false`", Path: "path",
    SecretStr: "text",
}  # fmt: skip
_BOUNDS: Final = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def rows(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type, default, meaning) of every key of `kind`, nested ones with dots."""
    for name, field in kind.model_fields.items():
        key = f"{prefix}{name}"
        sections, suffix = _sections(field.annotation)
        yield (
            key + suffix,
            _type_name(field.annotation, field),
            _default(field, bool(sections)),
            field.description or (_first_line(sections[0]) if len(sections) == 1 else ""),
        )
        for section in sections:
            # A union of sections is told apart by a key of fixed value, as `name: schema`.
            which = f"({_tag(section)})" if len(sections) > 1 else ""
            yield from rows(section, f"{key}{suffix}{which}.")


def markdown() -> str:
    """Return the whole reference as Markdown tables."""
    parts = []
    for name, kind in FILES.items():
        parts.append(f"## {_TITLES[name]}\n")
        parts.append("| Key | Type | Default | Meaning |\n|---|---|---|---|")
        for key, what, default, meaning in rows(kind):
            cells = (f"`{key}`", what, default, meaning)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


WRITTEN: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "configuration.md": {"config": markdown},
    "models.md": {"formats": formats_table, "signatures": signatures_table},
}
"""What is written into each page, by the name in the markers around it."""


def markers(name: str) -> tuple[str, str]:
    """Return the lines between which a written part of a page stands."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def replaced(page: str, text: str) -> str:
    """Return the `text` of a page of `docs` with its written parts as they should be.

    Raises:
        ValueError: a marker is missing.
    """
    for name, write in WRITTEN[page].items():
        first, last = markers(name)
        before, begin, rest = text.partition(first)
        _old, end, after = rest.partition(last)
        if not begin or not end:
            raise ValueError(f"docs/{page} needs the markers {first} and {last}")
        text = f"{before}{begin}\n{write()}{end}{after}"
    return text


def _sections(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """Return the sections an annotation holds, and `[]` if it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], ""
    found: list[type[BaseModel]] = []
    suffix = "[]" if get_origin(annotation) is list else ""
    if get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            sections, deeper = _sections(inner)
            found += sections
            suffix = suffix or (deeper if sections else "")
    return found, suffix if found else ""


def _type_name(annotation: Any, field: FieldInfo | None = None) -> str:
    origin = get_origin(annotation)
    listed = [rule for rule in (field.metadata if field else ()) if isinstance(rule, OneOf)]
    if listed:
        text = ", ".join(f"`{name}`" for name in listed[0].names())
    elif origin is Annotated:
        text = _type_name(get_args(annotation)[0])
    elif origin is Literal:
        text = ", ".join(f"`{value}`" for value in get_args(annotation))
    elif origin in (Union, types.UnionType):
        inner = [_type_name(part) for part in get_args(annotation) if part is not types.NoneType]
        optional = ["none"] if types.NoneType in get_args(annotation) else []
        text = " or ".join(dict.fromkeys(inner + optional))
    elif origin is list:
        inner_type = get_args(annotation)[0]
        names = get_origin(inner_type) is Literal
        text = f"list of {_type_name(inner_type)}{'' if names else 's'}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        text = "section"
    else:
        text = _PLAIN.get(annotation, annotation.__name__)
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in (field.metadata if field else ())
        for name, sign in _BOUNDS
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([text, *bounds])


def _default(field: FieldInfo, has_sections: bool) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if has_sections:
        return "empty" if value == [] else "as below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().partition("\n")[0]


def _tag(section: type[BaseModel]) -> str:
    for field in section.model_fields.values():
        if get_origin(field.annotation) is Literal and field.is_required():
            return str(get_args(field.annotation)[0])
    return section.__name__


def main(arguments: list[str]) -> int:
    """Write what is written into pages, or with `--check` tell whether it is up to date."""
    stale = 0
    for page in WRITTEN:
        old = (DOCS / page).read_text(encoding="utf-8")
        new = replaced(page, old)
        if old == new:
            continue
        if "--check" in arguments:
            stale = 1
            sys.stderr.write(
                f"docs/{page}: out of date; run `python -m serving.config.reference`\n"
            )
        else:
            (DOCS / page).write_text(new, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
