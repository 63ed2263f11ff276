"""What whoever watches the day is told, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.channel.messages.incidents import Incident
from serving.demo.traffic.comparison import Comparison
from serving.demo.traffic.schedule import MODEL, Day, clock


def introduction(day: Day, seed: int) -> str:
    """Say what is going to be played."""
    return (
        f"A day in {day.seconds:.0f} s: {day.rows:,} applicants for '{MODEL}', more by day than by "
        f"night, and some rows for 'digits' and 'cancer' (seed {seed}). Labels come "
        f"{day.label_delay_h:g} hours late."
    )


def announcements(day: Day) -> Iterator[tuple[float, str]]:
    """Yield the hour from which on something is played, and what to say then."""
    hour = day.begins
    for each in day.planted:
        if each.begins > hour:
            yield hour, f"{clock(hour)}  traffic as ever; Vigil should say nothing"
        yield each.begins, f"{clock(each.begins)}  planted, a {each.change}: {each.plays}"
        yield each.begins, f"       Vigil should say: {each.expects}"
        hour = each.ends
    if hour < day.ends:
        yield hour, f"{clock(hour)}  traffic as ever"
    yield day.ends, f"{clock(day.ends)}  the day is over; its last labels come in the night"


def opened(hour: float, incident: Incident) -> str:
    """Say that an incident has opened or has become worse."""
    return f"{clock(hour)}  Vigil: {incident.severity.upper()} {incident.id}: {incident.summary}"


def caused(hour: float, incident: Incident) -> str:
    """Say what has become known of the cause of an incident."""
    cause = incident.evidence.cause
    assert cause is not None
    return f"{clock(hour)}  Vigil: {incident.id}, why: {cause.summary}"


def hidden(hiding: Sequence[Incident]) -> str:
    """Say which incidents are open from before, and what to do."""
    listed = ", ".join(f"{each.id} ({each.cause})" for each in hiding)
    return (
        f"incidents of '{MODEL}' are open from before, so what is planted would open none: "
        f"{listed}; begin with a new data folder (stop the demo, move its .vigil away, start it)"
    )


def outcome(compared: Comparison) -> Iterator[str]:
    """Yield what was planted beside what Vigil said, and the verdict on it."""
    for planted, seen in compared.found:
        head = f"{clock(planted.begins)} {planted.change}"
        if seen is None:
            yield f"missing  {head}: Vigil opened no {planted.severity} of it"
            continue
        hours = seen.hour - planted.begins
        after = f"{int(hours)} h {round(hours % 1 * 60):02d} min"
        yield f"found    {head}: {seen.incident.severity} {seen.incident.id}, {after} later"
    for seen in compared.wrong:
        incident = seen.incident
        yield (
            f"wrong    {clock(seen.hour)} {incident.severity} {incident.id}, which nothing planted "
            f"explains: {incident.summary}"
        )
    if compared.right:
        yield "Vigil said what was planted, and nothing else."
    else:
        yield "Vigil did not say what was planted: see the lines that begin with missing or wrong."
