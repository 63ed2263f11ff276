"""`vigil config`: describe every key of a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from serving.cli.console import OUT

ConfigFile = Literal["server", "model"]


def describe(
    file: Annotated[ConfigFile, typer.Argument(help="server (vigil.yaml) or model (model.yaml).")],
) -> None:
    """Describe every key of a configuration file."""
    from rich.table import Table

    from serving.config.reference import FILES, rows

    table = Table("key", "type", "default", "meaning")
    for cells in rows(FILES[file]):
        table.add_row(*(cell.replace("`", "").replace("[", "\\[") for cell in cells))
    OUT.print(table)
