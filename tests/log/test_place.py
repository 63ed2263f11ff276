"""Where a log is, as its configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config import Log, SensitiveLog
from serving.log.place import place_of, retention_of
from serving.log.store import LateStore


def test_it_is_in_the_data_folder_unless_another_place_is_given(tmp_path: Path) -> None:
    place = place_of(Log(), tmp_path)
    assert place == (str(tmp_path / "log"), tmp_path / "log" / "open")
    assert place.store().local == tmp_path / "log"
    elsewhere = place_of(Log(url="/srv/log"), tmp_path)
    assert elsewhere == ("/srv/log", tmp_path / "log" / "open")


def test_a_store_on_the_network_is_opened_when_it_is_used(tmp_path: Path) -> None:
    store = place_of(Log(url="memory://bucket/log"), tmp_path).store()
    assert isinstance(store, LateStore)
    store.write("predictions/a", lambda file: file.write(b"abc"))
    assert list(store.files("predictions")) == [("predictions/a", 3)]
    assert store.read("predictions/a") == b"abc"
    store.delete("predictions/a")
    assert list(store.files("predictions")) == []


def test_a_store_that_cannot_be_opened_is_one_that_is_away(tmp_path: Path) -> None:
    store = place_of(Log(url="nowhere://bucket/log"), tmp_path).store()
    for use in (lambda: store.full("a"), lambda: list(store.files("")), lambda: store.read("a")):
        with pytest.raises(OSError, match=r"log\.url: 'nowhere://bucket/log' cannot be used"):
            use()


def test_retention() -> None:
    kept = retention_of(Log(retention_days=7, max_gib=2, sensitive=SensitiveLog(retention_days=1)))
    assert (kept.days, kept.sensitive_days, kept.max_bytes) == (7, 1, 2 << 30)
    assert retention_of(Log(retention_days=7)).sensitive_days == 7
