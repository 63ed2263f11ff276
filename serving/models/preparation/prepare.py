"""Makes a version ready to serve: loads it, measures what conversion changed, warms it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from serving.config import ConfigError
from serving.models.blank_row import told_blank_row
from serving.models.contract import Model, Tensors
from serving.models.formats.loader import load
from serving.models.preparation import deviation
from serving.models.preparation.row_coupling import compare_rows
from serving.models.preparation.warm_up import example_batches, require_sound_outputs, warm_up
from serving.models.repository.folder import ModelEntry
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

EXAMPLE: Final = "the example"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that may serve, and what was seen of it.

    Attributes:
        model: the model.
        rows: what comparing rows alone and together has shown, a sentence.
        measured: what conversion has changed, a sentence; None if nothing was converted.
        tried: what text stood for an example, a sentence; None if there is one, or no text.
    """

    model: Model
    rows: str
    measured: str | None = None
    tried: str | None = None


def prepare(entry: ModelEntry, device: str) -> Prepared:
    """Load the model onto `device`, compare it with the one that was made, and warm it up.

    Raises:
        ConfigError: files are missing, damaged or do not fit the configuration, or the model
            deviates by more than its tolerance.
        InvalidInput: the example is not a request that the protocol allows.
        ModelFailed: the model cannot compute its own example, lacks an output, gives nothing
            finite for one, or gives a row something else beside other rows than alone.
    """
    model = load(entry, device)
    measured = None
    if deviation.changes_numbers(entry.config):
        measured = _measure(entry, model, device)
        report(Event.MODEL_MEASURED, measured, model=entry.name, version=entry.version)
    warm_up(model, entry)
    require_sound_outputs(model, entry)
    rows = compare_rows(model, entry)
    report(Event.MODEL_MEASURED, rows, model=entry.name, version=entry.version)
    tried = told_blank_row(entry.config) if entry.config.remote is None else None
    if tried:
        report(Event.MODEL_MEASURED, tried, model=entry.name, version=entry.version)
    return Prepared(model, rows, measured, tried)


def _measure(entry: ModelEntry, model: Model, device: str) -> str:
    batches: list[Tensors] = list(example_batches(entry))
    if not batches:
        raise ConfigError(
            f"model '{entry.name}': what {deviation.asked(entry.config)} changes must be measured; "
            f"name a file with a request by `example` in model.yaml"
        )
    reference = load(deviation.as_made(entry), device)
    found = deviation.measure(entry, model, reference, batches)
    deviation.require_tolerable(entry, found, EXAMPLE)
    return deviation.describe(entry.config, found, EXAMPLE)
