"""`vigil check`: try configuration and models without serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.console import complain, say
from serving.cli.server_options import ConfigPath, ModelsDir, overrides
from serving.errors import VigilError

if TYPE_CHECKING:
    from serving.models.repository.folder import ModelEntry, ModelRepository


def check(
    config: ConfigPath = None,
    models: ModelsDir = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
) -> None:
    """Validate configuration and models without serving: load, warm up, run the example."""
    from serving.config import load_server
    from serving.models.repository.folder import ModelRepository, wrong_name

    settings = load_server(config, overrides(models=models))
    repository = ModelRepository(settings.models, settings.remote_hosts)
    names = [model] if model else repository.names()
    misnamed = [] if model else repository.misnamed()
    for name in misnamed:
        complain(wrong_name(settings.models, name))
    if not names and not misnamed:
        complain(f"{settings.models}: holds no model")
    sound = [_check_model(repository, name) for name in names]
    raise typer.Exit(0 if all(sound) and not misnamed else 1)


def _check_model(repository: ModelRepository, name: str) -> bool:
    entries, broken = repository.survey(name)
    for each in broken:
        what = f"{name} version {each.version}" if each.version else name
        complain(f"{what}: {each.reason}")
    sound = [_check_version(entry) for entry in entries]
    return all(sound) and not broken


def _check_version(entry: ModelEntry) -> bool:
    from serving.models.preparation.prepare import prepare
    from serving.models.preparation.warm_up import try_without_example

    what = f"{entry.name} version {entry.version}"
    try:
        prepared = prepare(entry, "cpu")
        try_without_example(prepared.model, entry)
    except VigilError as error:
        complain(f"{what}: {error.message}")
        return False
    except Exception as error:  # noqa: BLE001 - the other models are checked all the same
        complain(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}")
        return False
    has = prepared.model.capabilities
    say(
        f"{what}: fine (features: {has.features}, module: {has.module}, "
        f"differentiable: {has.differentiable})"
    )
    for told in (prepared.rows, prepared.measured, prepared.tried):
        if told:
            say(f"{what}: {told}")
    return True
