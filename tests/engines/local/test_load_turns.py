import asyncio

import pytest

from serving.engines.local.load_turns import LoadTurns


async def entered(turns: LoadTurns, ident: str, *, required: bool = True) -> asyncio.Task[None]:
    task = asyncio.create_task(turns.enter(ident, required=required))
    await asyncio.sleep(0)
    return task


async def test_required_ones_go_first_and_each_in_its_turn() -> None:
    turns = LoadTurns(2)
    order: list[str] = []
    tasks = {}
    for ident, required in [("a", False), ("b", False), ("c", False), ("d", True), ("e", True)]:
        tasks[ident] = await entered(turns, ident, required=required)
        tasks[ident].add_done_callback(lambda _, ident=ident: order.append(ident))
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    turns.leave("nobody")
    for ident in ("b", "b", "a", "d"):  # one that leaves twice frees one place
        turns.leave(ident)
        await asyncio.sleep(0.001)
    assert order == ["a", "b", "d", "e", "c"]


async def test_whoever_gives_up_holds_up_nobody() -> None:
    turns = LoadTurns(1)
    first = await entered(turns, "first")
    await first
    waiting, last = await entered(turns, "waiting"), await entered(turns, "last")
    waiting.cancel()
    await asyncio.sleep(0)
    turns.leave("first")
    await last
    another = await entered(turns, "another")
    turns.leave("last")
    another.cancel()  # it has its turn already
    with pytest.raises(asyncio.CancelledError):
        await another
    async with asyncio.timeout(60):
        await turns.enter("next", required=False)


async def test_one_that_never_comes_to_an_end_counts_no_more() -> None:
    turns = LoadTurns(1, longest_s=0.01)
    await turns.enter("hung", required=True)
    async with asyncio.timeout(60):
        await turns.enter("next", required=True)
    turns.leave("hung")
    waiting = await entered(turns, "waiting")
    assert not waiting.done()
    turns.leave("next")
    await waiting
