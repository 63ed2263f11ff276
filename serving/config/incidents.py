"""The section `monitors.incidents` of `model.yaml`: what findings of the model become incidents."""

from __future__ import annotations

from pydantic import Field

from serving.config.section import Section


class Incidents(Section):
    """When incidents of the model open and close by themselves."""

    quiet_windows: int = Field(
        3,
        ge=1,
        le=1000,
        description="An incident resolves by itself after so many windows without a breach.",
    )
    quiet_s: float = Field(
        900, ge=0, description="And after so many seconds without one; both must have passed."
    )
    unknown_after_s: float = Field(
        86_400,
        gt=0,
        description="A verdict that has been unknown for so long becomes a ticket: no rows, no "
        "labels, or a monitor that cannot run.",
    )
    warm_up_s: float = Field(
        300,
        ge=0,
        description="Breaches of severity `info`, as drift, open nothing for so long after a new "
        "version.",
    )
    false_alarm_budget: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of a rule's incidents that may be marked as false alarms. Beyond it, "
        "and from 3 of them on, the rule's incidents are one severity lower, from 6 on two.",
    )
