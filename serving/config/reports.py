"""Which reports of a model are made regularly: `reports` of `model.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from serving.config.section import Section

ReportKind = Literal["drift", "performance", "fairness", "quality"]


class Reports(Section):
    """Reports that are made regularly and kept under `data_dir/reports/MODEL`."""

    kinds: list[ReportKind] = Field(min_length=1, description="Which ones.")
    every_s: float = Field(
        86_400, ge=60, description="Seconds from one report of a kind to the next one."
    )
    last_s: float = Field(
        604_800,
        gt=0,
        description="Each is of the logged rows of the last so many seconds. Where nothing is "
        "logged, those of drift and quality are of recent rows, and there are no others.",
    )
    keep: int = Field(7, ge=1, le=1000, description="Reports of a kind; older ones are deleted.")
    format: Literal["html", "json"] = Field("html", description="How they are written.")

    @field_validator("kinds")
    @classmethod
    def _once(cls, kinds: list[ReportKind]) -> list[ReportKind]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("names a report twice; leave one out")
        return kinds
