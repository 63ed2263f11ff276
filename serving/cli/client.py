"""Asking a running instance over HTTP. Whatever goes wrong there becomes one sentence, here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from serving.errors import VigilError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

PATIENCE_S: Final = 30.0
CONNECT_S: Final = 10.0


class Refused(VigilError):
    """The instance did not do what it was asked; the sentence is its own.

    Attributes:
        status: of its answer.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, status: int = 0
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status


class Unreachable(VigilError):
    """Nothing has answered, or not in time; the same may work later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the instance answered, with status 200.

    Attributes:
        url: what was asked.
        content: the body, decompressed.
        headers: by name, whose case does not matter.
    """

    url: str
    content: bytes
    headers: Mapping[str, str]

    def read(self, form: type[T]) -> T:
        """Return the JSON of the body.

        Raises:
            VigilError: it is no JSON, or not of that form.
        """
        try:
            return msgspec.json.decode(self.content, type=form)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise not_an_instance(self.url) from None


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one listener of an instance.

    Attributes:
        url: where it answers, such as http://host:port.
        patience_s: how long it may take.
        session: keeps connections and certificates between calls; none: each call has its own.
    """

    url: str
    patience_s: float = PATIENCE_S
    session: httpx.Client | None = None

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to GET.

        Args:
            path: its segments, as they are before quoting.
            query: parameters, likewise.

        Raises:
            Refused: the instance answered with an error.
            Unreachable: nothing answers there, or not in time.
            VigilError: something else answers there, or the URL is none.
        """
        return self._ask("GET", path, query=query)

    def post(
        self, *path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer to POST, as `get` does."""
        return self._ask("POST", path, body, headers)

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        url = "/".join((self.url.rstrip("/"), *map(_segment, path)))
        if query:
            url += "?" + urlencode(query, errors="surrogateescape")
        got = self._sent(method, url, body, headers)
        answer = Answer(url, got.content, got.headers)
        if got.status_code != 200:
            raise _refusal(answer, got.status_code)
        return answer

    def _sent(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> httpx.Response:
        # Here, because most commands ask nobody.
        import httpx

        patience = httpx.Timeout(self.patience_s, connect=min(self.patience_s, CONNECT_S))
        no_address = f"'{self.url}' is no address; write http://host:port"
        if not _is_address(self.url):
            raise VigilError(no_address)
        try:
            if self.session is None:
                return httpx.request(method, url, content=body, headers=headers, timeout=patience)
            return self.session.request(
                method, url, content=body, headers=headers, timeout=patience
            )
        except (httpx.InvalidURL, UnicodeError):  # of the host, which httpx or the resolver encode
            raise VigilError(no_address) from None
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            problem = f"{url} has not answered within {self.patience_s:g} s"
        except (httpx.ProtocolError, httpx.DecodingError) as error:
            # A kept connection is closed between two calls when the instance ends.
            if "disconnected without" not in str(error):
                raise not_an_instance(url) from None
            problem = f"the connection to {url} was closed before the answer was there"
        except (httpx.ReadError, httpx.WriteError):
            problem = f"the connection to {url} broke before the answer was there"
        except httpx.HTTPError as error:
            if "SSL" in str(error):
                raise VigilError(f"no TLS with {url}: {error}") from None
            problem = f"nothing answers at {url}; is Vigil up, and is that its port?"
        raise Unreachable(problem)


def _refusal(answer: Answer, status: int) -> VigilError:
    try:
        return Refused(answer.read(_Error).error, status=status)
    except VigilError as error:
        # Proxies say in words of their own that what is behind them is away.
        away = status in (502, 503, 504)
        return Unreachable(f"{answer.url} answered with {status}") if away else error


def not_an_instance(url: str) -> VigilError:
    """Return the error for an answer that Vigil would not give."""
    return VigilError(f"what answers at {url} is not Vigil; give another address or port")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    # A query or a fragment would swallow the path.
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not {*"?#"} & {*url}


def _segment(text: str) -> str:
    """Return a text as one segment of a path; `..`, left as it is, would take the one before."""
    if not text.strip("."):
        return text.replace(".", "%2E")
    return quote(text, safe="", errors="surrogateescape")  # arguments may be any bytes


class _Error(msgspec.Struct):
    error: str
