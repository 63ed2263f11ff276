"""What a request may ask for: one decision that every ingress and the admin listener call.

A transport asks with what it knows: the scope of the route or method, the model once it is known,
who asks, and what browsers say of themselves. It neither knows nor keeps the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from serving.access.principals import ANYBODY, Principal
from serving.access.scopes import Scope
from serving.access.web import WebAccess, refuses_order
from serving.config import Listen
from serving.config.hosts import LOOPBACK
from serving.errors import Forbidden, VigilError

_NO_CONTROL: Final = (
    "nothing authenticates clients and this port is not on loopback; use the admin listener, or "
    "bind listen.host to 127.0.0.1"
)
_NOTHING_REFUSED: Final[Mapping[Scope, str]] = {}


class Access:
    """Decides what requests of one listener may ask for.

    Args:
        web: judges what pages in browsers send; none: as of a server that everybody reaches.
        refused: scopes that nobody may ask for, each with a sentence that says why.
    """

    def __init__(
        self, web: WebAccess | None = None, refused: Mapping[Scope, str] = _NOTHING_REFUSED
    ) -> None:
        self.web = web or WebAccess()
        """Judges by the head's bytes and the configuration alone, so heads may be kept judged."""
        self._refused = refused

    def principal_of(self, _headers: Mapping[bytes, bytes]) -> Principal:
        """Return who sends a request with these headers or gRPC metadata.

        Whoever is not known is somebody too: `decide` refuses them. Only `CREDENTIAL` is read: a
        caller that has not got all headers at hand gives this one alone.
        """
        return ANYBODY

    def decide(
        self,
        scope: Scope | None,
        model: str,
        principal: Principal,
        method: str = "",
        headers: Mapping[bytes, bytes] | None = None,
    ) -> VigilError | None:
        """Return why a request is refused; None if it is not. The answer must not be kept.

        Asked before a body is read, and once more where the body tells the model.

        Args:
            scope: of the route or method; None where there is none for what was asked.
            model: its name; empty where none is named, or not known yet.
            principal: who asks.
            method: of HTTP; a gRPC call's is POST.
            headers: by name, of a head that `web` has not judged yet; else None.
        """
        if headers is not None:
            said = refuses_order(method, headers) if scope is Scope.CONTROL else None
            said = said or self.web.refusal(method, headers)
            if said is not None:
                return Forbidden(said)
        said = self._refused.get(scope) if scope is not None else None
        return None if said is None else Forbidden(said)


def access_of(listen: Listen) -> Access:
    """Return what decides for the ports of inference.

    Clients elsewhere may not control the server, as long as nothing says who they are. Which
    models there are is no secret: whoever may infer may list them.
    """
    refused = {} if listen.host in LOOPBACK else {Scope.CONTROL: _NO_CONTROL}
    return Access(WebAccess(listen.cors_origins, listen.hosts), refused)
