"""The section `prices` of `vigil.yaml`: what a model's share of the machine costs."""

from __future__ import annotations

from pydantic import Field

from serving.config.section import Section


class Prices(Section):
    """What processor time, GPU time and electricity cost; what has no price is not charged."""

    currency: str = Field(
        "EUR", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of all prices, such as `EUR`."
    )
    cpu_second: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Price of a second of one processor's time."
    )
    gpu_second: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Price of a second of computing on one GPU."
    )
    kwh: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Price of a kilowatt-hour, charged for energy that a device tells.",
    )
