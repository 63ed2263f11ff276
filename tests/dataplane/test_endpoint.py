"""Tickets, and endpoints that are no served version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from serving.channel.messages.directory import Directory
from serving.dataplane.handler import DataPlane

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_tickets_tell_in_the_turn_of_the_answer_and_not_after_they_are_given_up(
    plane: DataPlane,
    served: Any,
    make_replica: Any,
    eventually: Wait,
    make_request: Any,
    outcomes: Any,
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.hold = True
    told: list[str] = []
    tickets = {name: plane.begin(make_request()) for name in ("first", "gone", "last")}
    for name, ticket in tickets.items():
        ticket.then(lambda name=name: told.append(name))
        # A turn of the loop after its future was settled everybody would have been told.
        ticket.item.future.add_done_callback(lambda _, name=name: told.append(f"{name} settled"))
    await eventually(lambda: replica.held)
    tickets["gone"].cancel()
    tickets["gone"].cancel()
    replica.release()
    await eventually(lambda: "last settled" in told)
    assert told == ["gone settled", "first", "last", "first settled", "last settled"]
    assert plane.finish(tickets["first"]).outputs[0].data.tolist() == [[2.0, 2.0]]
    tickets["first"].then(lambda: told.append("late"))
    await eventually(lambda: told[-1] == "late")
    assert outcomes(plane) == {"abandoned": 1, "ok": 1}
