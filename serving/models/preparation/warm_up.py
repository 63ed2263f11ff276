"""Runs a model's example before the first client comes, so that no client pays for first use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from serving.config import InputSpec, ModelConfig
from serving.errors import InvalidInput, ModelFailed
from serving.models.bucket_sizes import buckets_of
from serving.models.contract import Model, Tensors, UpstreamModel
from serving.models.known_rows import example_inputs, known_batch, repeated
from serving.models.named_outputs import OutputMissing
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import FLOATING, fp32_to_bf16
from serving.protocol.finite import has_no_finite

WARM_UP_ROWS: Final = (1, 2, 8, 32)
"""Kernels are chosen by size, so a few sizes are tried before the first client comes."""


def warm_up(model: Model, entry: ModelEntry) -> None:
    """Run the model's example at a few batch sizes; without an example do nothing.

    A model that is compiled runs every size that it is compiled for.
    A model on another server is asked first whether it is there.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
        ModelFailed: the model cannot compute its own example, or not one finite number of an
            output comes out of it.
    """
    if isinstance(model, UpstreamModel):
        model.require_ready()
    for batch in example_batches(entry):
        require_finite(entry, model.predict(batch))
        if model.capabilities.features:
            model.predict_with_features(batch)


def require_finite(entry: ModelEntry, outputs: Tensors) -> None:
    """Refuse what a version gives for its example where no number of an output is finite.

    Raises:
        ModelFailed: an output holds NaN and infinity only.
    """
    if found := _without_a_finite(entry, outputs):
        raise ModelFailed(
            f"output '{min(found)}' is NaN or infinite throughout for the example; correct the "
            f"version, or name a request that it can answer by `example` in model.yaml"
        )


def require_sound_outputs(model: Model, entry: ModelEntry) -> None:
    """Refuse a version without an example that lacks an output, or that gives no finite number.

    Some formats tell only by running what they return, so a row of zeros is tried. Where an output
    is not finite for zeros, as a logarithm may not be, a row of ones and one at random within the
    limits of `model.yaml` are tried too. A model that cannot compute them is given the benefit of
    the doubt, and so is one that takes text, for which nothing can be made up. Models on other
    servers are not asked.

    Raises:
        OutputMissing: an output is not among what it returns.
        ModelFailed: an output holds NaN and infinity only, whatever was tried.
    """
    if entry.example is not None or entry.config.remote is not None:
        return
    suspects = {spec.name for spec in entry.config.outputs}
    for batch in _trials(entry):
        try:
            suspects &= _without_a_finite(entry, model.predict(batch))
        except OutputMissing:
            raise
        except (ModelFailed, InvalidInput):
            return
        if not suspects:
            return
    if any(spec.datatype == "BYTES" and not spec.sensitive for spec in entry.config.inputs):
        return
    raise ModelFailed(
        f"output '{min(suspects)}' is NaN or infinite throughout for rows of zeros, ones and "
        f"random numbers; correct the version, or name a request that it can answer by `example` "
        f"in model.yaml"
    )


def _without_a_finite(entry: ModelEntry, outputs: Tensors) -> set[str]:
    return {
        spec.name
        for spec in entry.config.outputs
        if spec.name in outputs and has_no_finite(outputs[spec.name], spec.datatype)
    }


def _trials(entry: ModelEntry) -> Iterator[dict[str, np.ndarray]]:
    """Give a row of zeros, one of ones and one at random, the last two within their limits."""
    random = np.random.default_rng(0)
    zeros = known_batch(entry, 1)
    yield zeros
    specs = {spec.name: spec for spec in entry.config.inputs}
    yield {name: drawn(specs[name], np.ones(zero.shape), zero) for name, zero in zeros.items()}
    yield {
        name: drawn(specs[name], at_random(specs[name], random, zero.shape), zero)
        for name, zero in zeros.items()
    }


def at_random(spec: InputSpec, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of `shape` that most models of such an input take; text gets any."""
    if spec.datatype in FLOATING:
        return random.standard_normal(shape)
    # Bytes are pixels most often; other integers may be indices, of which only the least are sure.
    return random.integers(0, 256 if spec.datatype == "UINT8" else 2, shape)


def drawn(spec: InputSpec, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `values`, numbers, within the input's limits and in its datatype.

    Of an input of text, return `known`, a row that the model computes.
    """
    if spec.datatype == "BYTES":
        return known
    columns = spec.features or []
    low = [column.min if column.min is not None else -np.inf for column in columns]
    high = [column.max if column.max is not None else np.inf for column in columns]
    values = np.clip(values, low or spec.min, high or spec.max)
    return fp32_to_bf16(values) if spec.datatype == "BF16" else values.astype(known.dtype)


def try_without_example(model: Model, entry: ModelEntry) -> None:
    """Run a row of zeros (of text: the first category, or nothing) where there is no example.

    Without it, formats whose file does not tell its inputs and outputs would pass for fine
    whatever `model.yaml` says. Models on other servers are not asked.

    Raises:
        ModelFailed: it cannot compute the row.
    """
    if entry.example is not None or entry.config.remote is not None:
        return
    try:
        model.predict(known_batch(entry, 1))
    except (ModelFailed, InvalidInput) as error:
        raise ModelFailed(
            f"fails on a row of zeros: {error.message}; correct it or what model.yaml declares, "
            f"or name a request that it answers by `example`"
        ) from None


def warm_up_rows(config: ModelConfig) -> tuple[int, ...]:
    """Return the sizes of batches to try: none that requests could not make."""
    most = config.batching.max_batch_size or WARM_UP_ROWS[-1]
    return tuple(sorted({min(rows, most) for rows in WARM_UP_ROWS}))


def example_batches(entry: ModelEntry) -> Iterator[dict[str, np.ndarray]]:
    """Give the example as batches of the sizes that a warm-up needs; none without an example.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    inputs = example_inputs(entry)
    config = entry.config
    if inputs and not config.joined and config.remote is None:
        # Each request is computed as it is, and a model may take no other number of rows.
        yield inputs
        return
    sizes = buckets_of(config.batching) if config.compile != "none" else warm_up_rows(config)
    for rows in sizes if inputs else ():
        yield {name: repeated(array, rows) for name, array in inputs.items()}
