"""A device for tests of the way of batches, and rows to send through it."""

import threading

import pytest
import torch
from torch.utils._pytree import tree_leaves

from serving.models.torch.array_conversion import is_dense


class SlowDevice:
    """A device made of plain memory that does nothing until it is told to.

    Copies are begun in order and done only when somebody waits for them or a later one of the same
    direction, so that what is under way at once can be seen.
    """

    def __init__(self, *, captures=True):
        self.begun = []
        self.done = {"up": 0, "down": 0}
        self.buffers = 0
        self.addresses = set()
        self.captured = 0
        self.replayed = 0
        self.captures = captures
        self.lock = threading.Lock()
        self.hold = threading.Event()
        self.hold.set()

    def host_buffer(self, size):
        self.buffers += size > 0
        buffer = torch.zeros(size, dtype=torch.uint8)
        self.addresses.add(buffer.data_ptr())
        return buffer

    device_buffer = host_buffer

    def upload(self, copies):
        return self._begin("up", copies)

    def compute(self, after, run):
        # Results must exist now for their shapes; what they are computed from is there in time.
        self._until(after)
        return run(), after

    def download(self, after, copies):
        return self._begin("down", copies)

    def wait(self, mark):
        assert self.hold.wait(60)
        self._until(mark)

    def capture(self, run, pool):
        """Record `run`; a pool is the results of its graphs, which each of them may overwrite."""
        if not self.captures:
            raise RuntimeError("operation not permitted\n when stream is capturing")
        self.captured += 1
        pool = [] if pool is None else pool
        found = run()
        pool += [leaf for leaf in tree_leaves(found) if self._is_scratch(leaf)]

        def replay():
            self.replayed += 1
            for result in pool:
                result.fill_(-99)
            for old, new in zip(tree_leaves(found), tree_leaves(run()), strict=True):
                if is_dense(old):
                    old.copy_(new)

        return replay, found, pool

    def _is_scratch(self, leaf):
        return is_dense(leaf) and leaf.untyped_storage().data_ptr() not in self.addresses

    def _begin(self, direction, copies):
        self.begun.append((direction, list(copies)))
        return direction, sum(one == direction for one, _ in self.begun)

    def _until(self, mark):
        direction, count = mark
        with self.lock, torch.inference_mode():
            begun = [copies for one, copies in self.begun if one == direction]
            for copies in begun[self.done[direction] : count]:
                for target, source in copies:
                    target.copy_(source)
            self.done[direction] = max(count, self.done[direction])


@pytest.fixture
def make_device():
    """Makes a device; see `SlowDevice`."""
    return SlowDevice


@pytest.fixture
def rows():
    """Makes `count` rows of three numbers, all different, from `start` on."""

    def make(count, start=0.0):
        return torch.arange(count * 3, dtype=torch.float32).reshape(count, 3) + start

    return make
