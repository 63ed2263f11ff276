"""What others are told of guards, wherever they run: results as messages, failures as log lines."""

from __future__ import annotations

from collections.abc import Iterable

from guards.runner import ERROR, Outcome
from serving.channel.messages.inference import GuardResult
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def results_of(outcomes: Iterable[Outcome]) -> tuple[GuardResult, ...]:
    """Return what became of guards on a batch as messages."""
    results = []
    for guard, rows, nanoseconds, scores, failure in outcomes:
        reason = "" if failure is None else failure.reason
        told = b"" if scores is None else scores.tobytes()
        results.append(GuardResult(guard, rows, nanoseconds, reason, told))
    return tuple(results)


def report_failure(outcome: Outcome, model: str, version: str, **facts: object) -> None:
    """Log that a guard raised, or that it is skipped from now on; nothing for any other outcome.

    A late batch, and each batch that a guard is skipped for, are only counted
    (`vigil.guard.failures`).

    Args:
        outcome: what became of it on a batch.
        model, version: the model's.
        facts: further fields of the line.
    """
    guard, failure = outcome.guard, outcome.failure
    if failure is None:
        return
    about = {"model": model, "version": version, "guard": guard, **facts}
    if failure.reason == ERROR:
        said = f"guard '{guard}' raised {type(failure.error).__name__} and judged no row of a batch"
        report(Event.GUARD_FAILED, said, error=failure.error, **about)  # type: ignore[arg-type]
    if failure.pause_ns:
        said = f"guard '{guard}' takes longer than its budget_ms and is skipped for a while"
        times = {"seconds": failure.pause_ns / 1e9, "took_ms": round(outcome.nanoseconds / 1e6, 3)}
        report(Event.GUARD_SKIPPED, said, **times, **about)  # type: ignore[arg-type]
