"""How bad an incident is."""

from __future__ import annotations

import pytest

from serving.incidents.ladder import broken_models, harmed_models, lowered, severity_of


@pytest.mark.parametrize(
    ("severities", "harmed", "severity"),
    [
        (["info"], False, "info"),
        (["info"], True, "ticket"),
        (["info", "page"], False, "page"),
        (["ticket"], True, "ticket"),
    ],
)
def test_the_worst_counts_and_harm_raises_what_is_looked_up(found, severities, harmed, severity):
    breached = [found(severity=each) for each in severities]
    assert severity_of(breached, harmed) == severity


@pytest.mark.parametrize(
    ("severity", "steps", "less"),
    [("page", 0, "page"), ("page", 1, "ticket"), ("page", 2, "info"), ("info", 2, "info")],
)
def test_steps_lead_down_to_the_lowest(severity, steps, less):
    assert lowered(severity, steps) == less


def test_harm_is_a_breach_of_performance_and_broken_data_is_a_page(found):
    findings = [
        found(model="a"), found(model="b", breached=False), found(model="c", breached=None),
        found(model="d", monitor="performance_estimate"), found(model="e", monitor="drift"),
        found(model="f", monitor="data_quality"),
        found(model="g", monitor="data_quality", severity="ticket"),
    ]  # fmt: skip
    assert harmed_models(findings) == {"a", "d"}
    assert broken_models(findings) == {"f"}
