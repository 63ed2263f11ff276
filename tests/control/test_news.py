"""Waiting for something to change."""

from __future__ import annotations

import asyncio

from serving.control.news import News


async def test_everybody_who_waits_is_woken_once() -> None:
    news = News()
    first = [asyncio.ensure_future(news.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    news.tell()
    later = asyncio.ensure_future(news.wait())
    await asyncio.gather(*first)
    await asyncio.sleep(0)
    assert not later.done()
    news.tell()
    await later


async def test_who_has_little_time_returns_without_news() -> None:
    news = News()
    await news.within(0.001)
    waiting = asyncio.ensure_future(news.within(3600))
    await asyncio.sleep(0)
    assert not waiting.done()
    news.tell()
    await waiting
