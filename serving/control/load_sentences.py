"""What clients and the log are told of loading that fails; clients look for how some begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.channel.messages.directory import ModelKey, ServedModel
from serving.errors import LoadFailed, ModelNotFound, unknown_model
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def report_refused(key: ModelKey, why: str = "") -> None:
    """Log that a version is not served.

    Args:
        key: the version.
        why: the control plane's own reason; empty where a replica or a gateway found it: what they
            say may quote the model, and they have logged it without that.
    """
    name, version, _ = key
    said = why or "its lines model_load_failed or version_unproven tell why"
    said = f"version {version} of model '{name}' is refused: {said}"
    report(Event.VERSION_REFUSED, said, model=name, version=version)


def load_failed(name: str, reasons: str, *, goes_on: bool = False) -> LoadFailed:
    """Return the error of an order to load, whose reasons are in the log already.

    Args:
        name: the model.
        reasons: why.
        goes_on: whether what served before still answers.
    """
    rest = "; what served before goes on" if goes_on else ""
    error = LoadFailed(f"failed to load '{name}', {reasons}{rest}")
    error.logged = True
    return error


def failed_reasons(failed: Mapping[ModelKey, str]) -> str:
    """Say of each version why it could not be loaded."""
    return "; ".join(f"version {version}: {why}" for (_, version, _), why in failed.items())


def no_such_model(order: str, name: str) -> ModelNotFound:
    """Return the error of an order about a model that is not there."""
    name = name[:200]
    return ModelNotFound(f"failed to {order} '{name}', {unknown_model(name).message}")


def version_list(models: Sequence[ServedModel]) -> str:
    """Return the versions, oldest first."""
    return ", ".join(sorted((served.version for served in models), key=int))
