"""Rules that call wolf: whose incidents were false alarms too often is believed less, visibly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from serving.channel.messages.incidents import Demoted, Incident, State
from serving.store.records import Closed

REMEMBERED_S: Final = 90 * 86_400.0
"""How long an incident that is over counts for its rule."""
STEP: Final = 3
"""False alarms that lower a rule by one severity, where its budget is spent."""
MOST: Final = 1000
"""Incidents that are remembered of a rule; the oldest are forgotten."""

Rule = tuple[str, str, str]
"""Model, monitor and metric."""


class FalseAlarms:
    """Incidents that are over, by rule.

    Args:
        budget: the share of false alarms that a model's rules may have.
        clock: seconds since the epoch.
    """

    def __init__(self, budget: Callable[[str], float], clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._rules: dict[Rule, dict[str, tuple[float, State]]] = {}

    def restore(self, closed: Iterable[Closed]) -> None:
        """Take in what was over before the start."""
        for each in closed:
            rule = (each.model, each.monitor, each.metric)
            self._put(rule, each.id, each.closed_at, each.state)

    def closed(self, incident: Incident) -> None:
        """Take note of an incident that is over, or of which people think otherwise now."""
        at = self._clock() if incident.closed_at is None else incident.closed_at
        self._put(incident.rule, incident.id, at, incident.state)

    def reopened(self, incident: Incident) -> None:
        """Take note that an incident is not over after all."""
        self._rules.get(incident.rule, {}).pop(incident.id, None)

    def steps(self, rule: Rule) -> int:
        """Return by how many severities the incidents of a rule are lowered now."""
        told = self._told(rule)
        return 0 if told is None else told.steps

    def demoted(self) -> list[Demoted]:
        """Return the rules whose incidents are lowered now."""
        told = (self._told(rule) for rule in sorted(self._rules))
        return [each for each in told if each is not None]

    def _told(self, rule: Rule) -> Demoted | None:
        counts = self._counted(rule)
        false = counts.count("false_alarm")
        budget = self._budget(rule[0])
        if false < STEP or false <= budget * len(counts):
            return None
        model, monitor, metric = rule
        return Demoted(
            model=model,
            monitor=monitor,
            metric=metric,
            steps=1 if false < 2 * STEP else 2,
            false_alarms=false,
            incidents=len(counts),
            budget=budget,
        )

    def _counted(self, rule: Rule) -> list[State]:
        since = self._clock() - REMEMBERED_S
        return [state for at, state in self._rules.get(rule, {}).values() if at >= since]

    def _put(self, rule: Rule, ident: str, at: float, state: State) -> None:
        known = self._rules.setdefault(rule, {})
        known[ident] = (at, state)
        if len(known) > MOST:
            del known[next(iter(known))]
