"""Carriers: they send the calls of a wire to another server, waiting or not.

A blocking carrier serves the command line and the explainer, an asynchronous one the replica; the
latter are ours, because with one request at a time the libraries' cost more than all else. All turn
whatever goes wrong into the domain's errors, `Unreachable` when nobody is there.
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import grpc
import httpx

from serving.errors import ModelNotReady, VigilError
from serving.remote.access import Access
from serving.remote.address import Address
from serving.remote.failures import of_grpc, too_late, unreachable, untrusted
from serving.remote.grpc.carrier import GrpcCarrier
from serving.remote.http.answers import whole_answer
from serving.remote.http.carrier import HttpCarrier
from serving.remote.http.wire import LENGTH
from serving.remote.pending import Asked
from serving.remote.wire import Answer, Answered, UpstreamCall

GRPC_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that is back must be found soon, and an idle connection is not given up.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
    # Its own environment may name a proxy; the address that was configured is meant.
    ("grpc.enable_http_proxy", 0),
    # Two replicas that front one server do not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)

_WATCHER_ENDS_S: Final = 0.3

# gRPC's own words for a call that failed because nobody was there; a status does not tell by whom
# it was given.
_NOBODY: Final = "failed to connect to all addresses"


class Carrier(Protocol):
    """Sends calls and waits for their answers."""

    def send(self, call: UpstreamCall, timeout_s: float) -> Answer:
        """Send `call`.

        Raises:
            VigilError: the server refused, was too late, or cannot be reached.
        """

    def close(self) -> None:
        """Close the connection."""


class AsyncCarrier(Protocol):
    """The same without blocking. Belongs to the loop in which it was made."""

    def ask(self, call: UpstreamCall, timeout_s: float, callback: Answered) -> Asked:
        """Send `call`; `callback` gets the answer, or what `Carrier.send` would raise.

        It may be called before this returns.
        """

    async def alive(self) -> bool:
        """Whether the server can be reached, as far as one can tell at little cost."""

    async def close(self) -> None:
        """Close the connections; calls under way fail."""


def open_carrier(address: Address, access: Access) -> Carrier:
    """Return a blocking carrier; it connects with the first call."""
    return _Grpc(address, access) if address.grpc else _Http(address, access)


def open_async_carrier(address: Address, access: Access) -> AsyncCarrier:
    """Return an asynchronous carrier; needs a running loop, and connects with the first call."""
    return GrpcCarrier(address, access) if address.grpc else HttpCarrier(address, access)


def _channel_credentials(access: Access) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(access.authorities, access.key, access.certificate)


def _grpc_error(
    error: grpc.RpcError, address: Address, timeout_s: float, *, connected: bool
) -> VigilError:
    code: grpc.StatusCode = error.code()
    details = error.details() or ""
    # By now a server that has come back may be connected, though it was not when the call failed.
    nobody = not connected or details.startswith(_NOBODY)
    if code is grpc.StatusCode.UNAVAILABLE and nobody:
        failed = address.tls and "ssl" in details.lower()
        return untrusted(address.url) if failed else unreachable(address.url)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return too_late(address.url, timeout_s)
    return of_grpc(code.name, error.details())


class _Grpc:
    def __init__(self, address: Address, access: Access) -> None:
        self._address = address
        self._access = access
        self._state = grpc.ChannelConnectivity.IDLE
        if address.tls:
            self._channel = grpc.secure_channel(
                address.netloc, _channel_credentials(access), GRPC_OPTIONS
            )
        else:
            self._channel = grpc.insecure_channel(address.netloc, GRPC_OPTIONS)
        self._channel.subscribe(self._note)

    def _note(self, state: grpc.ChannelConnectivity) -> None:
        self._state = state

    def send(self, call: UpstreamCall, timeout_s: float) -> Answer:
        ask = self._channel.unary_unary(call.path, None, None)
        metadata = tuple({**call.headers, **self._access.headers()}.items())
        try:
            return Answer(ask(call.body, timeout=timeout_s, metadata=metadata))
        except grpc.RpcError as error:
            connected = self._state is grpc.ChannelConnectivity.READY
            raise _grpc_error(error, self._address, timeout_s, connected=connected) from None

    def close(self) -> None:
        # The thread that watches the state looks five times a second whether anybody listens; a
        # channel that is closed before it has noticed makes it fail aloud.
        self._channel.unsubscribe(self._note)
        time.sleep(_WATCHER_ENDS_S)
        self._channel.close()


def _request(call: UpstreamCall, access: Access) -> dict[str, Any]:
    method = "GET" if call.body is None else "POST"
    headers = {**call.headers, **access.headers()}
    return {"method": method, "url": call.path, "content": call.body, "headers": headers}


class _Http:
    def __init__(self, address: Address, access: Access) -> None:
        self._url = address.url
        self._access = access
        self._client = httpx.Client(
            base_url=address.url, trust_env=False, verify=access.ssl_context()
        )

    def send(self, call: UpstreamCall, timeout_s: float) -> Answer:
        try:
            request = _request(call, self._access)
            response = self._client.request(**request, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise _http_error(error, self._url, timeout_s) from None
        return whole_answer(response.status_code, response.content, response.headers.get(LENGTH))

    def close(self) -> None:
        self._client.close()


def _http_error(error: httpx.HTTPError, url: str, timeout_s: float) -> VigilError:
    if isinstance(error, httpx.ConnectError) and "ssl" in str(error).lower():
        return untrusted(url)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return unreachable(url)
    if isinstance(error, httpx.TimeoutException):
        return too_late(url, timeout_s)
    # It closed the connection: the next request finds out whether it is still there.
    return ModelNotReady(f"the upstream server {url} hung up; retry", retry_after_s=1)
