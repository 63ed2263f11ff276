"""What the section of any guard has in `model.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serving.config.section import Section

Action = Literal["flag", "shadow", "reject"]
OnError = Literal["open", "closed"]


class GuardSection(Section):
    """A guard of a model; a kind of guard has a section of its own, and `name` chooses it."""

    name: str = Field(description="Chooses this guard.")
    action: Action = Field(
        "flag",
        description="What happens to a row it dislikes: marked, only counted, or refused with 422.",
    )
    on_error: OnError = Field(
        "open",
        description="What happens to rows that the guard cannot judge, because it fails or is "
        "skipped: `open` lets them pass, `closed` refuses them with 422.",
    )
    expected_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of rows that it does not let pass when all is well; more than 1.5 times "
        "as many, or less than two thirds of them, are a finding. None: its `false_positive_rate` "
        "where it has one, else its share has no verdict.",
    )
    budget_ms: float = Field(
        1000,
        gt=0,
        allow_inf_nan=False,
        description="Milliseconds that it may take for a batch. Decisions that come later count; "
        "after three late batches in a row it is skipped for a second, and for longer if it "
        "is late again then.",
    )

    @property
    def stated_rate(self) -> float | None:
        """Share of rows that it is stated not to let pass; None: nobody has stated one."""
        return self.expected_rate
