"""Where incidents are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config import ConfigError, ServerConfig, load_server
from serving.config.store_url import below, check_url, without_password


@pytest.mark.parametrize(
    "url",
    ["sqlite:///vigil.db", "sqlite:////var/vigil.db", "postgresql://host/name",
     "postgresql://user:pass@host:5432/name?sslmode=require", "postgresql:///name?host=/run/pg"],
)  # fmt: skip
def test_a_database(url):
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["", "vigil.db", "sqlite://", "sqlite:///", "mysql://h/d", "postgresql://host",
     "postgresql://u:a-secret@h:x/d", "postgresql+asyncpg://u:a-secret@h/d", "sqlite:///a\nb",
     "postgresql://host:/d", "postgresql://u:a-secret@h:/d", "postgresql://u:1/a-secret@h/d",
     "postgresql://u:1/x?a-secret@h/d", "postgresql://u:1/x#a-secret@h/d"],
)  # fmt: skip
def test_no_database(url):
    with pytest.raises(ValueError, match="write") as error:
        check_url(url)
    assert "a-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://u:p%40w@h:5/d?x=1", "postgresql://u:***@h:5/d?x=1"),
        ("postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_no_password_is_shown(url, shown):
    assert without_password(url) == shown
    config = ServerConfig(store_url=url)
    assert config.model_dump(mode="json")["store_url"] == shown
    assert config.store_url == url


def test_paths_are_relative_to_the_file(tmp_path):
    path = tmp_path / "vigil.yaml"
    path.write_text("store_url: sqlite:///state/x.db\n")
    assert load_server(path, {}).store_url == f"sqlite:///{tmp_path}/state/x.db"
    assert below("sqlite:////abs.db", Path("/x")) == "sqlite:////abs.db"
    assert below("postgresql://h/d", Path("/x")) == "postgresql://h/d"
    path.write_text("store_url: 5\n")
    with pytest.raises(ConfigError, match="store_url"):
        load_server(path, {})
