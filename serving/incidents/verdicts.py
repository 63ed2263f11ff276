"""From what a monitor knows now to what is told of it: the one way by which findings become
incidents, live and in a backtest."""

from __future__ import annotations

from serving.channel.messages.findings import FindingsChanged
from serving.incidents.book import Book, Context
from serving.incidents.causes import grouped
from serving.incidents.deployments import Deployments
from serving.incidents.ladder import DATA_QUALITY, broken_models, harmed_models
from serving.incidents.unknowns import Unknowns


class Verdicts:
    """Judges findings by the ladder.

    Args:
        book: where incidents are.
        deployments: what is served.
        unknowns: what is not known.
    """

    def __init__(self, book: Book, deployments: Deployments, unknowns: Unknowns) -> None:
        self._book, self._deployments, self._unknowns = book, deployments, unknowns

    def judge(self, changed: FindingsChanged) -> None:
        """Take in all that a monitor knows of its models; those that nobody serves are left out."""
        served = self._deployments.models
        findings = [each for each in changed.findings if each.model in served]
        passed = [each for each in changed.passed if each.model in served]
        harmed = harmed_models((*findings, *passed))
        broken = broken_models((*findings, *passed))
        groups = grouped(findings)
        for group in (grouped(passed), groups):
            for key, found in group.items():
                context = Context(
                    harmed=key.model in harmed,
                    broken=key.model in broken and key.cause != DATA_QUALITY,
                )
                self._book.judge(key, found, context)
        mine = [each for each in changed.unjudged if each.model in served]
        self._unknowns.told(groups, mine)

    def tick(self, *, silence: bool = True) -> None:
        """Do what is due by the time.

        Args:
            silence: whether what is not known means something.
        """
        if silence:
            self._unknowns.tick()
        self._book.tick()
        self._book.forget_unserved(self._deployments.models)
