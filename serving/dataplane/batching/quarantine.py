"""Queries of death: requests whose computation ends the replica, found out and not sent again.

When a replica is lost, the requests of the batch that it was at work on are *suspects*. They are
sent again in smaller batches, one at a time, over a link that holds nothing else, so that nobody
else is lost with them; a suspect that is answered is cleared. A request that was alone in the batch
is guilty if the process ended by itself (a crash, an exit, no memory, a hang), and gets a 500. What
might as well have been somebody's `kill -9` has to repeat itself `UNEXPLAINED` times.

None is sent to the only replica that is left while another one is being replaced: suspects wait
for that, up to `WAIT_S`, and then get a 503. The time in which others have their turn does not
count, since each of these may cost a replica. Where the one death there was may have been bad luck,
they wait no longer than `PATIENCE_S`, or a share of the time that their deadlines leave, and then
that replica is risked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Final

import msgspec

from serving.channel.messages.control import HUNG, EndedMeta
from serving.config import Replicas
from serving.dataplane.batching.deadly_requests import Deadly, DeadlyRequests, deadly_request
from serving.dataplane.batching.replacement import RETURN_S
from serving.dataplane.links.link import ReplicaLink, ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import ends_again, ends_replicas, no_replica, settle
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

UNEXPLAINED: Final = 3
"""Replicas lost with a request, alone at last, after which it is guilty without other evidence."""
PIECES: Final = 8
"""Batches that one of suspects is cut into: each level of the search costs a replica."""
WAIT_S: Final = RETURN_S
"""How long suspects wait for a replica that may be risked."""
PATIENCE_S: Final = 5.0
_OF_DEADLINE: Final = 0.25
_OF_HANG: Final = 0.9
"""Share of the time allowed after which a replica that is lost was ended for hanging."""


class Suspects(msgspec.Struct, eq=False):
    """Requests of one batch that a replica was lost with.

    Attributes:
        items: the requests; they may share a batch.
        deaths: replicas that were lost with them.
        proven: whether one of the replicas ended by itself.
        risk_at: the loop's time from which on they may be sent to the only replica that is left.
    """

    items: list[Pending]
    deaths: int
    proven: bool
    risk_at: float


class Quarantine:
    """The suspects of one model version. Belongs to the loop's thread.

    Args:
        name, version: of the model.
        replicas: how many there are, and after how many seconds a batch is one that hangs.
        ends: how replicas ended.
        remains: returns whether there is somebody to send suspects to, or will be.
        changed: called when there may be something to send, or nothing is left.
        on_again: told how many requests will be sent again.
        on_deadly: told of each request that is found guilty.

    Attributes:
        deadly: requests that are known to end replicas; `on_deadly` adds what is found here.
        held: suspects that wait, in order.
    """

    def __init__(
        self,
        name: str,
        version: str,
        replicas: Replicas,
        ends: ReplicaEnds,
        remains: Callable[[], bool],
        changed: Callable[[], None],
        on_again: Callable[[int], None],
        on_deadly: Callable[[Deadly], None],
    ) -> None:
        self._name, self._version = name, version
        self._ends = ends
        self._replicas = replicas
        self._remains = remains
        self._changed = changed
        self._on_again = on_again
        self._on_deadly = on_deadly
        self._loop = asyncio.get_running_loop()
        self.held: deque[Suspects] = deque()
        self._undecided = 0
        self._reserved: ReplicaLink | None = None
        self._sent: Suspects | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._most_links = 0
        self.deadly = DeadlyRequests()

    @property
    def busy(self) -> bool:
        """Whether a request is here that has no answer."""
        return bool(self.held or self._undecided or self._sent)

    def holds(self, batch: Batch) -> bool:
        """Whether a batch that was sent is one of suspects."""
        return self._sent is not None and self._sent.items is batch.items

    # -- what was lost ------------------------------------------------------------------

    def take(self, link: ReplicaLink, batch: Batch, lost: ReplicaLost) -> None:
        """Take in a batch that a replica was lost with and that it may have been at work on."""
        before = self._sent if self.holds(batch) else None
        self._undecided += 1
        if lost.begun and lost.busy_s >= _OF_HANG * self._replicas.hang_timeout_s:
            self._judge(batch, before, lost, EndedMeta(link.id, HUNG, True))
        else:
            self._ends.ask(link.id, partial(self._judge, batch, before, lost))

    def _judge(
        self, batch: Batch, before: Suspects | None, lost: ReplicaLost, ended: EndedMeta | None
    ) -> None:
        """Find the only suspect guilty, or hold all of them for another try."""
        self._undecided -= 1
        proven = bool(lost.begun) and ended is not None and ended.by_itself
        deaths = (lost.begun is not False) + (before.deaths if before else 0)
        if len(batch.items) == 1 and (proven or deaths >= UNEXPLAINED):
            self._condemn(batch.items[0], ended.how if ended else "was lost", lost, deaths)
        else:
            self.refuse_known(batch.items)
            alive = [item for item in batch.items if not item.future.done()]
            if self._remains():
                self._hold(alive, before, deaths, proven=proven)
            else:
                self._answer_unserved(alive)
        self._changed()

    def _hold(
        self, items: list[Pending], before: Suspects | None, deaths: int, *, proven: bool
    ) -> None:
        """Have requests sent again, in pieces of what they were sent in."""
        proven = proven or (before is not None and before.proven)
        now = self._loop.time()
        risk_at = inf if deaths >= 2 or proven else now + _patience(items, now)
        pieces = [Suspects(each, deaths, proven, risk_at) for each in _cut(items)]
        if before is None:
            self.held.extend(pieces)
        else:
            # First, so that the one who is guilty is known before others who ask the same.
            self.held.extendleft(reversed(pieces))
        self._on_again(len(items))
        self._wait_anew()

    def give_up(self) -> None:
        """Answer the suspects that wait; nobody will compute them."""
        held, self.held = self.held, deque()
        for suspects in held:
            self._answer_unserved(suspects.items)
        self._watch()

    def _answer_unserved(self, items: Iterable[Pending]) -> None:
        for item in items:
            settle(item, no_replica(self._name))

    def _condemn(self, item: Pending, how: str, lost: ReplicaLost, deaths: int) -> None:
        error = ends_replicas(self._name, how)
        error.logged = True  # in the line that follows
        settle(item, error)
        self._on_deadly(deadly_request(item.bound, how))
        report(
            Event.QUERY_OF_DEATH,
            f"a replica {how} while it computed a request, which is answered 500 and not sent "
            "again",
            model=self._name,
            version=self._version,
            request_id=item.id,
            span=item.context.span,
            traceparent=item.context.traceparent,
            process=str(lost),
            replicas=deaths,
        )

    def refuse(self, deadly: Deadly) -> None:
        """Refuse a request from now on, and whoever asks the same among the suspects."""
        self.deadly.add(deadly)
        for suspects in self.held:
            self.refuse_known(suspects.items)

    def refuse_known(self, items: Iterable[Pending]) -> None:
        """Answer those of `items` that are known to end replicas."""
        if not self.deadly:
            return
        for item in items:
            if not item.future.done() and (how := self.deadly.how(item.bound)):
                settle(item, ends_again(self._name, how))

    # -- sending ------------------------------------------------------------------------

    def met(self, links: int) -> None:
        """Note how many links there are; lost ones will be replaced."""
        self._most_links = max(self._most_links, links)

    def free_link(self, links: Sequence[ReplicaLink]) -> ReplicaLink | None:
        """Return a link of `links` for the next suspects, with nothing else on it, if one is there.

        Until it is idle its slots are taken, so that nothing new is sent over it.
        """
        self._drop_answered()
        if self._reserved is not None and self._reserved not in links:  # it drains
            self._let_go()
            self._wait_anew()
        if not self.held or self._sent is not None:
            if self._sent is None:
                self._let_go()
            return None
        if self._reserved is None:
            if len(links) < self._enough(self.held[0]):
                return None
            self._reserved = min(links, key=_busy)
            self._reserved.busy += self._reserved.slots
        link = self._reserved
        return link if link.busy == link.slots else None

    def _enough(self, suspects: Suspects) -> int:
        """Return how many links there must be, so that one may be lost."""
        if self._loop.time() >= suspects.risk_at:
            return 1
        # A link to all replicas at once, as with Serve's handles, is the only one.
        return min(2, self._replicas.min, self._most_links)

    def next(self) -> list[Pending]:
        """Take the suspects that are sent now; `answered` must follow."""
        self._sent = self.held.popleft()
        return self._sent.items

    def answered(self) -> None:
        """Whatever became of the suspects that were sent, they are not under way any more."""
        self._sent = None
        self._let_go()
        self._wait_anew()

    def lost(self, link: ReplicaLink) -> None:
        """A link is gone."""
        if link is self._reserved:
            self._let_go()
            self._wait_anew()

    def _let_go(self) -> None:
        """Give the slots of the link back that was reserved."""
        link, self._reserved = self._reserved, None
        if link is not None:
            link.busy -= link.slots

    def _drop_answered(self) -> None:
        """Forget suspects that nobody waits for, and answer all if they have waited too long."""
        if self._waits and self._until <= self._loop.time():
            self.give_up()
            return
        for suspects in self.held:
            suspects.items = [item for item in suspects.items if not item.future.done()]
        self.held = deque([suspects for suspects in self.held if suspects.items])

    @property
    def _waits(self) -> bool:
        """Whether a replica that may be risked is what is missing."""
        return self._sent is None and self._reserved is None

    def _wait_anew(self) -> None:
        """Another turn begins, so the next ones wait from now on."""
        self._until = self._loop.time() + WAIT_S
        self._watch()

    def _watch(self) -> None:
        """Look again when the first of them has waited long enough, or too long."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.held and self._waits:
            now = self._loop.time()
            ahead = [each.risk_at for each in self.held if each.risk_at > now]
            self._timer = self._loop.call_at(min([self._until, *ahead]), self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        self._drop_answered()
        self._watch()
        self._changed()


def _busy(link: ReplicaLink) -> int:
    return link.busy


def _patience(items: Sequence[Pending], now: float) -> float:
    """Return for how many seconds suspects may wait for another replica than the last."""
    deadlines = [item.timer.when() for item in items if item.timer is not None]
    return min([PATIENCE_S, *[max(0.0, when - now) * _OF_DEADLINE for when in deadlines]])


def _cut(items: list[Pending]) -> list[list[Pending]]:
    """Cut suspects into pieces that are about equal; none is empty."""
    size = -(-len(items) // PIECES)
    return [items[at : at + size] for at in range(0, len(items), size or 1)]
