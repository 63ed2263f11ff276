"""Whether an instance is ready: every gateway is there and says so; else why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.control.failure_reasons import FailureReasons
from serving.control.members import MemberState
from serving.control.served_model import config_of


def unready_reasons(
    states: Iterable[MemberState],
    wanted: int,
    models: Iterable[ServedModel],
    failures: FailureReasons,
) -> list[str]:
    """Return why the instance is not ready, one sentence each; none when it is.

    Args:
        states: every member.
        wanted: how many gateways there must be.
        models: what should answer.
        failures: why replicas could not be; said where no gateway has.
    """
    gateways = [state for state in states if state.member.role == "gateway"]
    reasons = []
    if len(gateways) < wanted:
        reasons.append(f"{len(gateways)} of {wanted} gateways are there")
    reasons += _of_gateways(state for state in gateways if not state.ready)
    if reasons:
        reasons += _of_models(models, failures, reasons)
    return reasons


def _of_gateways(gateways: Iterable[MemberState]) -> list[str]:
    """Say why gateways are not ready, in their own words where they gave any; each reason once."""
    told = []
    said: dict[str, list[str]] = {}
    for state in gateways:
        ident = state.member.id
        if state.age_s is None:
            told.append(f"gateway {ident} has not reported yet")
        elif state.silent:
            told.append(f"gateway {ident} has not reported for {state.age_s:.0f} s")
        elif isinstance(state.status, GatewayStatus) and state.status.reasons:
            for reason in dict.fromkeys(state.status.reasons):
                said.setdefault(reason, []).append(ident)
        else:
            told.append(f"gateway {ident} is not ready")
    return told + [f"gateway {', '.join(idents)}: {reason}" for reason, idents in said.items()]


def _of_models(
    models: Iterable[ServedModel], failures: FailureReasons, told: Sequence[str]
) -> list[str]:
    """Say why required models cannot be loaded, where gateways have not told it."""
    found = []
    for served in models:
        why = failures.of(served.key)
        if why is not None and _is_required(served) and not any(why in each for each in told):
            found.append(f"model '{served.name}' version {served.version}: {why}")
    return found


def _is_required(served: ServedModel) -> bool:
    try:
        return config_of(served).required
    except ValueError:  # it may have failed for just that
        return True
