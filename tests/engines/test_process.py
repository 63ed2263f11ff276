"""Ports that are taken are refused, even from servers that would share them."""

from __future__ import annotations

import ctypes
import socket

import pytest

from serving.config import ConfigError
from serving.engines.process import Adoption, free_port, require_free_port


@pytest.mark.parametrize("share", [False, True], ids=["exclusive", "SO_REUSEPORT"])
@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_refused(share: bool, listens_on: str) -> None:
    with socket.socket() as other:
        if share:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((listens_on, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"http_port 127.0.0.1:{port} cannot be used"):
            require_free_port("127.0.0.1", port, "http_port")
    require_free_port("127.0.0.1", port, "http_port")


def test_a_connection_that_lingers_is_no_reason_to_refuse() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server closes first, so TIME_WAIT is on its side
            assert client.recv(1) == b""
    require_free_port("127.0.0.1", port, "http_port")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1:80"):
        require_free_port("203.0.113.1", 80, "http_port")


def test_a_free_port_is_free() -> None:
    require_free_port("127.0.0.1", free_port("127.0.0.1"), "http_port")


def test_orphans_are_adopted_only_while_somebody_wants_them() -> None:
    def adopts() -> bool:
        value = ctypes.c_int()
        ctypes.CDLL(None).prctl(37, ctypes.byref(value), 0, 0, 0)
        return bool(value.value)

    adoption, one, other = Adoption(), object(), object()
    before = adopts()
    adoption.want(one, wanted=True)
    adoption.want(other, wanted=True)
    adoption.want(one, wanted=False)
    assert adopts()
    adoption.want(other, wanted=False)
    adoption.want(other, wanted=False)
    assert adopts() == before
