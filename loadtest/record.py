"""Results of a measurement as tables: on the terminal, and as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.home import ROOT

RESULTS: Final = ROOT / "loadtest" / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; cells are text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table alone, first column to the left and the others to the right."""
        lines = [
            "| " + " | ".join(self.columns) + " |",
            "|---|" + "---:|" * (len(self.columns) - 1),
        ]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def text(name: str, known: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Return all as Markdown: what is known of machine and run, then the tables."""
    lines = [f"# {name}", ""]
    lines += [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in known.items()]
    for table in tables:
        lines += ["", f"## {table.title}", ""]
        lines += [table.note, ""] if table.note else []
        lines.append(table.markdown().rstrip("\n"))
    return "\n".join(lines) + "\n"


def show(name: str, known: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Print it."""
    print(text(name, known, tables), flush=True)


def write(
    name: str, known: Mapping[str, Any], tables: Sequence[Table], samples: Sequence[Any],
    folder: Path = RESULTS,
) -> None:  # fmt: skip
    """Write `<name>.json` (every sample) and `<name>.md` (the tables) into `folder`."""
    data = {"facts": dict(known), "samples": list(samples)}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text(name, known, tables))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items()) or "none"
    return str(value)
