"""Ports of the local engine; `tests/e2e` starts and breaks whole instances."""

from __future__ import annotations

import socket

import pytest

from serving.config import ConfigError, Listen
from serving.engines.local import supervisor as local
from serving.engines.local.supervisor import fixed_ports
from serving.engines.process import free_port


def test_ports_that_are_named_stay_and_others_are_chosen() -> None:
    named = free_port("127.0.0.1")
    listen = fixed_ports(Listen(http_port=named, grpc_port=0, admin_port=0))
    assert listen.http_port == named
    assert len({listen.http_port, listen.grpc_port, listen.admin_port}) == 3
    assert 0 not in (listen.grpc_port, listen.admin_port)


def test_a_chosen_port_is_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [free_port("127.0.0.1") for _ in range(3)]
    offered = [numbers[0], numbers[0], numbers[1], numbers[1], numbers[0], numbers[2]]
    monkeypatch.setattr(local, "free_port", lambda _host: offered.pop(0))
    listen = fixed_ports(Listen(http_port=0, grpc_port=0, admin_port=0))
    chosen = {listen.http_port, listen.grpc_port, listen.admin_port}
    assert len(chosen) == 3


def test_equal_ports_are_refused() -> None:
    port = free_port("127.0.0.1")
    with pytest.raises(ConfigError, match="must differ"):
        fixed_ports(Listen(http_port=port, grpc_port=port, admin_port=0))


def test_a_taken_port_is_named_by_its_key() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="grpc_port"):
            fixed_ports(Listen(http_port=0, grpc_port=other.getsockname()[1], admin_port=0))
