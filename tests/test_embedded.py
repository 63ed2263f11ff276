"""The mounted app without an instance: how it starts, fails and refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.principals import APPLICATION, Principal
from serving.access.scopes import Scope
from serving.config import ConfigError
from serving.embedded import Vigil
from serving.engines.worker_folder import WorkerFolder
from serving.errors import Forbidden, InvalidInput, ModelNotReady
from serving.gateway import openapi


async def ask(app: Any, path: str, **more: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], **more}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    vigil = Vigil(models=tmp_path / "none", data_dir=tmp_path / "data")
    with pytest.raises(ConfigError, match="no such folder"):
        await vigil.start()
    start, end = await ask(vigil, "/v2")
    assert start["status"] == 503
    assert b"no such folder" in end["body"]
    await vigil.stop()
    with pytest.raises(ModelNotReady, match="stopped"):
        await vigil.infer("m", {})


async def test_its_lifespan_tells_the_server_why_it_did_not_start(tmp_path: Path) -> None:
    app = Vigil(models=tmp_path / "none", data_dir=tmp_path).beside(Vigil(), "/models")
    (message,) = await ask(app, "", type="lifespan")
    assert message["type"] == "lifespan.startup.failed"
    assert "no such folder" in message["message"]


async def test_websockets_and_grpc_are_refused(tmp_path: Path) -> None:
    vigil = Vigil(models=tmp_path)
    assert (await ask(vigil, "/v2", type="websocket"))[0]["type"] == "websocket.close"
    start, _ = await ask(vigil, "/x", headers=[(b"content-type", b"application/grpc")])
    assert dict(start["headers"])[b"grpc-status"] == b"12"


@pytest.mark.parametrize("at", ["", "/", "models"])
def test_a_prefix_begins_with_a_slash_and_names_something(at: str) -> None:
    with pytest.raises(InvalidInput, match="/models"):
        Vigil().beside(Vigil(), at)


def test_the_description_names_the_prefix() -> None:
    assert b'"servers":[{"url":"/m"}]' in openapi.encoded("/m")
    assert b'"servers":[{"url":"/"}]' in openapi.encoded()


def test_workers_have_folders_of_their_own(tmp_path: Path) -> None:
    first, second = WorkerFolder(tmp_path), WorkerFolder(tmp_path)
    assert (first.path.name, second.path.name) == ("worker-0", "worker-1")
    first.release()
    again = WorkerFolder(tmp_path)
    assert again.path.name == "worker-0"
    again.release()
    second.release()


class Denying(Access):
    """Refuses whoever it is; remembers who asked for what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Scope | None, str, Principal]] = []

    def decide(self, scope: Scope | None, model: str, principal: Principal, *_: Any) -> Forbidden:
        self.asked.append((scope, model, principal))
        return Forbidden("the decision says no")


async def test_another_decision_reaches_what_the_application_asks_in_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vigil, access = Vigil(models=tmp_path), Denying()
    app = SimpleNamespace(access=access, plane=object())
    monkeypatch.setattr(vigil, "_here", lambda: SimpleNamespace(app=app))
    with pytest.raises(Forbidden, match="says no"):
        await vigil.infer("m", {})
    assert access.asked == [(Scope.INFER, "m", APPLICATION)]
