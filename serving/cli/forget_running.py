"""`vigil forget` where an instance runs: the order is given to it, and waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from serving.channel.messages.observation import ForgetMeta, ForgetReply
from serving.cli.client import Client, Refused, Unreachable
from serving.cli.console import ERR, Report, with_progress
from serving.errors import VigilError
from serving.protocol.ids import new_request_id

if TYPE_CHECKING:
    from serving.config import ServerConfig
    from serving.log.subject import Subject

PAUSE_S: Final = 0.2
PATIENCE_S: Final = 60.0
"""How long an instance that has begun may be away: a monitor that restarts begins again."""
_AWAY: Final = 503
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not bound to here


def admin_url(settings: ServerConfig) -> str:
    """Return where the admin listener of an instance answers, as its configuration says.

    Raises:
        VigilError: it has a free port, which nobody knows from here.
    """
    listen = settings.listen
    if not listen.admin_port:
        raise VigilError(
            "an instance runs there, and listen.admin_port is 0; name its admin listener with "
            "--admin"
        )
    host = listen.admin_host
    host = _ANYWHERE.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{host}:{listen.admin_port}"


def forget_running(url: str, whose: Subject) -> ForgetReply:
    """Have a running instance forget a subject; returns what it has done.

    Args:
        url: of its admin listener.
        whose: the subject.

    Raises:
        VigilError: it has not; the message says why.
    """
    found: list[ForgetReply] = []
    order = ForgetMeta(new_request_id(), whose.value, whose.by, whose.model or "")
    waiting = _Waiting(Client(url), msgspec.json.encode(order))
    try:
        with_progress(lambda report: found.append(waiting.until_finished(report)), ERR.is_terminal)
    except KeyboardInterrupt:
        said = "the instance goes on with it, and doing it again is harmless"
        raise VigilError(f"interrupted; {said if waiting.begun else 'nothing was begun'}") from None
    return found[0]


class _Waiting:
    """Repeats an order until it is finished.

    Attributes:
        begun: whether the instance has taken it.
    """

    def __init__(self, client: Client, body: bytes) -> None:
        self._client, self._body = client, body
        self._answered = 0.0
        self.begun = False

    def until_finished(self, report: Report) -> ForgetReply:
        while True:
            reply = self._asked()
            if reply is not None:
                if reply.finished:
                    return reply
                report(reply.what or "beginning", reply.done, reply.of or None)
            time.sleep(PAUSE_S)

    def _asked(self) -> ForgetReply | None:
        """Return what is answered; None while the instance is away."""
        try:
            reply = self._client.post("forget", body=self._body).read(ForgetReply)
        except (Refused, Unreachable) as error:
            away = isinstance(error, Unreachable) or error.status == _AWAY
            if not (away and self.begun):
                raise
            if time.monotonic() - self._answered > PATIENCE_S:
                said = f"it is not finished, do it again: {error.message}"
                raise VigilError(said) from None
            return None
        self.begun, self._answered = True, time.monotonic()
        return reply
