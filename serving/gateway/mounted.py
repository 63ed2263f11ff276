"""The ASGI app under a prefix of another application: paths, and what is refused there."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from serving.errors import Unsupported, VigilError
from serving.gateway.grpc.replies import error_headers
from serving.gateway.http.replies import error_reply

_NO_GRPC: Final = Unsupported(
    "gRPC is not offered inside a web application, whose server sends no trailers; use HTTP here, "
    "or run `vigil up`"
)


def inner_path(scope: Scope) -> str:
    """Return the path below the mount, whether or not the server left the prefix in `path`.

    The ASGI specification leaves it in; frameworks that predate that took it out.
    """
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def without_prefix(scope: Scope) -> Scope:
    """Return the scope as an app sees it that knows nothing of a mount; `root_path` stays."""
    root = scope.get("root_path", "").rstrip("/")
    return {**scope, "path": inner_path(scope), "root_path": root}


def under(scope: Scope, prefix: str) -> Scope | None:
    """Return the scope of an app that is mounted at `prefix`; None when the path is elsewhere.

    Args:
        scope: of a request or a websocket.
        prefix: begins with a slash and ends without one.
    """
    path = inner_path(scope)
    if path != prefix and not path.startswith(prefix + "/"):
        return None
    root = scope.get("root_path", "").rstrip("/")
    return {**scope, "path": root + path, "root_path": root + prefix}


async def refuse(scope: Scope, receive: Receive, send: Send, error: VigilError) -> None:
    """Answer a request with an error, or close a websocket before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    reply = error_reply(error)
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})


def is_grpc(scope: Scope) -> bool:
    """Whether a request is a gRPC call."""
    kind: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return kind.startswith(b"application/grpc")


async def refuse_grpc(send: Send) -> None:
    """Answer a gRPC call with a status in the headers, which needs no trailers."""
    headers = error_headers(_NO_GRPC)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
