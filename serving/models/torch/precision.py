"""Converts a module to the precision that `model.yaml` asks for.

Half precision converts weights and inputs once and lets the module compute in it throughout,
which halves the memory that is read; autocast would convert the weights again in every batch.
`int8-dynamic` is eager dynamic quantisation of `torch.ao`: int8 weights of Linear and LSTM, and
activations that are quantised by their range in each batch. Torch calls that module deprecated
in favour of a package of its own, and still has it in the version that Vigil is tied to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

import torch

from serving.config import ConfigError
from serving.models.repository.folder import ModelEntry
from serving.models.torch.array_conversion import TORCH_OF
from serving.models.torch.tensor_names import Run, bound_methods
from serving.protocol.datatypes import FLOATING

HALF: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
QUANTISED: Final = (torch.nn.Linear, torch.nn.LSTM)


def runs_at_precision(
    entry: ModelEntry, module: torch.nn.Module, device: torch.device
) -> tuple[Run, Run | None]:
    """Return `forward` and, if there is one, `forward_with_features` at the entry's precision.

    Inputs are given and outputs returned in the declared datatypes, whatever lies between.

    Args:
        entry: what is served.
        module: in inference mode, on `device`; converted in place.
        device: where to compute.

    Raises:
        ConfigError: the precision cannot be had for this module or on this device.
    """
    precision = entry.config.precision
    if precision == "fp32":
        return bound_methods(entry, module)
    if precision == "int8-dynamic":
        return bound_methods(entry, _quantised(entry, module, device))
    dtype = HALF[precision]
    forward, with_features = bound_methods(entry, module.to(dtype))
    declared = [
        TORCH_OF[spec.datatype] if spec.datatype in FLOATING else None
        for spec in entry.config.outputs
    ]

    def run(*inputs: torch.Tensor) -> Any:
        return _cast_back(forward(*_cast(inputs, dtype)), declared)

    def run_with_features(*inputs: torch.Tensor) -> Any:
        assert with_features is not None
        found = with_features(*_cast(inputs, dtype))
        if not isinstance(found, tuple | list) or len(found) != 2:
            return found  # told by whoever asked
        return _cast_back(found[0], declared), found[1]

    return run, run_with_features if with_features else None


def _cast(inputs: tuple[torch.Tensor, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs]


def _cast_back(found: Any, declared: list[torch.dtype | None]) -> Any:
    several = isinstance(found, tuple | list)
    values = found if several else (found,)
    if len(values) != len(declared):
        return found  # told by whoever reads it
    cast_values = tuple(
        value.to(dtype)
        if dtype and isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for value, dtype in zip(values, declared, strict=True)
    )
    return cast_values if several else cast_values[0]


def _quantised(entry: ModelEntry, module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    if device.type != "cpu":
        raise ConfigError(
            f"model '{entry.name}': precision int8-dynamic computes on a CPU only; set "
            f"`replicas: {{device: cpu}}`"
        )
    # A root without children could not be replaced by its quantised form.
    if not any(isinstance(inner, QUANTISED) for inner in module.modules() if inner is not module):
        raise ConfigError(
            f"model '{entry.name}': precision int8-dynamic converts Linear and LSTM inside the "
            f"module, and there is none; take bf16 or fp32"
        )
    try:
        with warnings.catch_warnings():
            # Deprecations, known and documented; the operator cannot act on them here.
            warnings.simplefilter("ignore")
            from torch.ao.quantization import quantize_dynamic

            quantise: Callable[..., torch.nn.Module] = quantize_dynamic
            return quantise(module, set(QUANTISED), dtype=torch.qint8)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for what it cannot convert
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"model '{entry.name}': precision int8-dynamic is not possible for this module "
            f"({type(error).__name__}: {message}); take bf16 or fp32"
        ) from None
