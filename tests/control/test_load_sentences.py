"""What is told of loading that fails."""

from __future__ import annotations

import pytest

from serving.channel.messages.directory import ServedModel
from serving.control.load_sentences import (
    failed_reasons,
    load_failed,
    no_such_model,
    report_refused,
    version_list,
)

FAILED = {("m", "2", "b"): "no weights", ("m", "10", "c"): "the example fails: oh"}


def test_the_error_says_whether_somebody_still_answers() -> None:
    reasons = failed_reasons(FAILED)
    assert reasons == "version 2: no weights; version 10: the example fails: oh"
    assert load_failed("m", reasons).message == f"failed to load 'm', {reasons}"
    goes_on = load_failed("m", reasons, goes_on=True)
    assert goes_on.message == f"failed to load 'm', {reasons}; what served before goes on"
    assert goes_on.logged


def test_a_name_from_a_client_is_bounded() -> None:
    error = no_such_model("unload", "n" * 10_000)
    assert error.message.startswith("failed to unload 'nnn")
    assert len(error.message) < 500


def test_versions_are_numbers() -> None:
    models = [ServedModel("m", version, b"", "") for version in ("10", "9", "1")]
    assert version_list(models) == "1, 9, 10"


def test_only_what_was_found_here_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    report_refused(("m", "2", "b"), "its process ended with exit code 9")
    report_refused(("m", "10", "c"))
    assert caplog.messages == [
        "version 2 of model 'm' is refused: its process ended with exit code 9",
        (
            "version 10 of model 'm' is refused: its lines model_load_failed or version_unproven "
            "tell why"
        ),
    ]
