"""How children ended, in words and in the log."""

from __future__ import annotations

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def how_ended(code: int) -> str:
    """Say how a process ended."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def tell_hung(ident: str, model: str, version: str, busy_s: float) -> None:
    """Log that a replica is ended, which has computed one batch for `busy_s` seconds."""
    report(
        Event.REPLICA_HUNG,
        f"{ident} has computed one batch for too long and is replaced",
        model=model,
        version=version,
        process=ident,
        seconds=round(busy_s, 1),
    )


def tell_exit(
    name: str, code: int, model: str = "", version: str = "", follows: str = "it is started again"
) -> None:
    """Log that a child ended which should not have, and what follows."""
    report(
        Event.PROCESS_ENDED,
        f"{name} ended with {how_ended(code)}; {follows}",
        model=model,
        version=version,
        process=name,
        code=code,
    )
