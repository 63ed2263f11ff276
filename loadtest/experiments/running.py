"""What all experiments share: a command that simulates, prints a table and keeps the results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest import facts

RESULTS: Final = Path(__file__).parents[1] / "results"

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment.

    Attributes:
        name: of its module, and of its results with dashes.
        about: what it asks.
        measure: simulates, much or little; returns figures as JSON values.
        tables: makes Markdown of the figures.
        draw: writes an SVG of them; None: there is none.
    """

    name: str
    about: str | None
    measure: Callable[[bool], dict[str, Any]]
    tables: Callable[[Figures], str]
    draw: Callable[[Path, Figures], None] | None = None

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Simulate, print, and with `--write` save."""
        parser = argparse.ArgumentParser(description=self.about)
        parser.add_argument("--full", action="store_true", help="many seeds: hours")
        parser.add_argument("--write", action="store_true", help="keep the results")
        told = parser.parse_args(arguments)
        found = self.measure(told.full)
        print(self.tables(found), end="")
        if told.write:
            command = facts.command(f"loadtest.experiments.{self.name}", arguments)
            kept = {"command": command, "machine": facts.machine(), **found}
            stem = RESULTS / self.name.replace("_", "-")
            stem.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
            stem.with_suffix(".md").write_text(self.tables(found))
            if self.draw:
                self.draw(stem.with_suffix(".svg"), found)
        return 0
