"""What is said of exporters is said of each of them."""

from __future__ import annotations

from typing import Any

from serving.telemetry.logs.export_lines import export_changed, variable_ignored


def test_what_is_told_of_one_exporter_keeps_nothing_back_of_another(log: Any) -> None:
    for exports in ("exports of hats", "exports of gloves"):
        tell = export_changed(exports)
        for _ in range(5):
            tell(f"{exports} fail", "fail")
    assert [(line["message"], line["state"]) for line in log.lines] == [
        ("exports of hats fail", "fail"),
        ("exports of hats fail", "fail"),  # a burst, as the test's log has it
        ("exports of gloves fail", "fail"),
        ("exports of gloves fail", "fail"),
    ]


def test_every_variable_that_means_nothing_is_told_at_once(log: Any) -> None:
    wrong = [f"OTEL_{number} is ignored" for number in range(20)]
    for said in wrong:
        variable_ignored(said)
    assert [line["message"] for line in log.lines] == wrong
