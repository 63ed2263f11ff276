"""The kernel's count of processes killed for lack of memory."""

from __future__ import annotations

from pathlib import Path

from serving.engines.local.memory_kills import LATELY_S, MemoryKills


def test_a_kill_is_noticed_for_a_while(tmp_path: Path) -> None:
    counters, now = tmp_path / "vmstat", [100.0]
    counters.write_text("nr_free_pages 7\noom_kill 3\n")
    kills = MemoryKills(counters, lambda: now[0])
    assert not kills.lately()
    counters.write_text("nr_free_pages 7\noom_kill 4\n")
    kills.look()  # seen before anybody asks
    now[0] += LATELY_S / 2
    assert kills.lately()
    now[0] += LATELY_S
    assert not kills.lately()


def test_without_counters_there_is_no_kill(tmp_path: Path) -> None:
    assert not MemoryKills(tmp_path / "none").lately()
    (tmp_path / "empty").write_text("")
    assert not MemoryKills(tmp_path / "empty").lately()
