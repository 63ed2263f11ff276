"""Links that are opened, proven by the model's example, given traffic, and lost."""

from __future__ import annotations

import asyncio
from typing import Protocol

from serving.channel.endpoint import connect
from serving.channel.messages.directory import Directory, ModelKey
from serving.dataplane.links.link import ChannelLink, ReplicaLink
from serving.dataplane.links.pool import LinkPool
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.served import ServedVersion

RETRY_S = 1.0
AT_ONCE_S = 0.1


class Revisions(Protocol):
    """Knows the revisions that links belong to, and is told what becomes of these."""

    def find(self, key: ModelKey) -> ServedVersion | None:
        """Return the entry of a revision; None when it is gone."""

    def proven(self, key: ModelKey) -> None:
        """A link of the revision has got traffic."""

    def disproved(self, key: ModelKey) -> None:
        """A link of the revision is closed: its replica does not answer the example."""

    def lost(self) -> None:
        """A link that had traffic is gone."""

    def look_again_in(self, seconds: float) -> None:
        """The directory's replicas are to be reached again after that time."""


class LinkProving:
    """The links of one gateway.

    Args:
        revisions: whose links they are.
        ends: how replicas ended.
        secret: the cluster's secret for TCP channels; None on one host.
    """

    def __init__(self, revisions: Revisions, ends: ReplicaEnds, secret: bytes | None) -> None:
        self._revisions = revisions
        self._ends = ends
        self._proofs: set[asyncio.Task[None]] = set()
        self._entry_of: dict[ChannelLink, ServedVersion] = {}
        self._pool = LinkPool(
            lambda address, lost: connect(address, secret, on_closed=lost),
            lambda key, link: self.add(key, link),
            self._down,
            lambda: revisions.look_again_in(RETRY_S),
        )

    def reach(self, directory: Directory) -> None:
        """Open links to the replicas of a directory that have none."""
        for member in directory.of_role("replica"):
            known = self._revisions.find(member.key)
            if known is not None:
                self._pool.open(*member.key, member.id, member.address, known.specs)

    def add(self, key: ModelKey, link: ReplicaLink) -> None:
        """Prove a link by running the model's example over it, then give it traffic."""
        task = asyncio.get_running_loop().create_task(self.prove(key, link))
        self._proofs.add(task)
        task.add_done_callback(self._proofs.discard)

    async def prove(self, key: ModelKey, link: ReplicaLink) -> None:
        """Run the example over a link, and give it traffic if that has worked."""
        entry = self._revisions.find(key)
        proven = entry is not None and await entry.prove(link)
        # While it was proved the link may have been lost, or the model removed.
        current = self._revisions.find(key) is entry
        if entry is not None and proven and current and link.open:
            if isinstance(link, ChannelLink):
                self._entry_of[link] = entry
            self._ends.forget(link.id)
            entry.batcher.add_link(link)
            self._revisions.proven(key)
        else:
            if isinstance(link, ChannelLink):
                link.connection.close()
            self._revisions.disproved(key)

    def release(self, key: ModelKey) -> list[ChannelLink]:
        """Forget the links to a revision and return them; the caller closes them."""
        return self._pool.release(*key)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _down(self, _key: ModelKey, link: ChannelLink) -> None:
        # Not looked up by name: its model may have been removed, and replaced, in the meantime.
        entry = self._entry_of.pop(link, None)
        if entry is not None:
            entry.batcher.remove_link(link)
            self._revisions.lost()
        # The connection may have broken although the replica lives: look again, at once after
        # good work, with a pause when the replica has never got through its example.
        self._revisions.look_again_in(RETRY_S if entry is None else AT_ONCE_S)
