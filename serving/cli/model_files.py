"""The commands that write files of a model version: `profile`, `convert`, `manifest`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from serving.cli.console import say, with_progress
from serving.cli.server_options import ModelsDir, overrides

MADE: Final = "safetensors of .pt, .pth; sklearn of .pkl, .pickle, .joblib"
"""What `serving.config.formats` says of conversions. It is not asked, since every command would
wait for the imports."""


def profile(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: Annotated[
        Path, typer.Option(help="File with reference rows: Parquet, or CSV if it ends in .csv.")
    ],
    heldout: Annotated[
        Path | None,
        typer.Option(help="File to calibrate guards on; none: a part of --data."),
    ] = None,
    time: Annotated[
        str,
        typer.Option(
            help="Column with the time of each row: how much windows vary by nature is learnt "
            "from their order."
        ),
    ] = "",
    label: Annotated[str, typer.Option(help="Column with what is true.")] = "y_true",
    sensitive: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with a sensitive attribute, beside those of model.yaml; may be repeated."
        ),
    ] = None,
    models: ModelsDir = None,
) -> None:
    """Fit the reference profile (drift, guards, baselines) of every version that is served."""
    from serving.config import load_server
    from serving.models.profile.dataset import DataColumns
    from serving.models.profile.fit import fit_profile
    from serving.models.repository.folder import ModelRepository

    settings = load_server(None, overrides(models=models))
    columns = DataColumns(time, label, tuple(sensitive or ()))
    for entry in ModelRepository(settings.models, settings.remote_hosts).entries(model):
        lines: list[str] = []
        with_progress(
            partial(fit_profile, entry, data, heldout, columns=columns, told=lines.append)
        )
        say(f"profile of {entry.name} version {entry.version} is in {entry.profile}")
        for line in lines:
            say(f"  not learnt: {line}")


def convert(
    file: Annotated[Path, typer.Argument(help=f"A pickle; its name tells the format: {MADE}.")],
    into: Annotated[
        Path | None,
        typer.Option(help="The version's folder, such as models/mine/1; none: the file's own."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Read the pickle, which runs what it holds.")
    ] = False,
) -> None:
    """Convert a pickle to a file that Vigil serves, which holds no code, and its manifest."""
    from serving.models.convert import convert_pickle

    for line in convert_pickle(file, into or file.parent, trust_code=trust_code):
        say(line)


def manifest(
    folder: Annotated[Path, typer.Argument(help="The version's folder, such as models/mine/1.")],
) -> None:
    """Write the manifest of files that were put into a version's folder, or changed, by hand."""
    from serving.models.repository.manifest import write_folder_manifest

    say(f"wrote {write_folder_manifest(folder)}")
