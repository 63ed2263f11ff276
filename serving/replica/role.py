"""A replica process: the role for the model's format, from its start until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

from serving.channel.messages.directory import ServedModel
from serving.replica.batch_handler import BatchHandler
from serving.replica.local import LocalBatches
from serving.replica.server import ReplicaServer
from serving.roles.load_failure import tell_failed
from serving.roles.served_entry import served_entry
from serving.telemetry.counters import SeriesSet
from serving.telemetry.process_title import set_title


def make_replica(
    served: ServedModel,
    member_id: str,
    address: str,
    registry_address: str,
    secret: bytes | None = None,
) -> ReplicaServer:
    """Return a replica with what answers its batches; see `ReplicaServer` for the arguments."""
    entry, series = served_entry(served), SeriesSet()
    remote = entry.config.remote
    batches: BatchHandler
    if remote is None:
        batches = LocalBatches(entry, series)
    else:
        # Here, because it loads gRPC, which must not be in a process that forks others.
        from serving.replica.upstream import UpstreamBatches

        batches = UpstreamBatches(entry, remote, series)
    return ReplicaServer(
        served, entry, batches, series, member_id, address, registry_address, secret
    )


def run(
    served: ServedModel, member_id: str, address: str, registry_address: str, secret: bytes | None
) -> None:
    """Be a replica process until SIGTERM: load, serve, drain."""
    import uvloop

    set_title("replica", served.name, served.version)
    role = make_replica(served, member_id, address, registry_address, secret)
    try:
        role.load()
    except Exception as error:  # noqa: BLE001 - whatever it was, this process ends with it
        tell_failed(served, error, registry_address, secret)
        sys.exit(1)

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        await role.start()
        await stop.wait()
        await role.stop()

    uvloop.run(serve())
