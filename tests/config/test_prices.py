"""Prices: all optional, none negative, and a currency by its code."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ConfigError, ServerConfig, parse


def read(**prices: Any) -> ServerConfig:
    return parse(ServerConfig, {"prices": prices}, "vigil.yaml")


def test_nothing_is_charged_without_prices() -> None:
    prices = ServerConfig().prices
    assert (prices.cpu_second, prices.gpu_second, prices.kwh) == (None, None, None)


def test_they_are_read() -> None:
    prices = read(currency="USD", cpu_second=0.04, gpu_second=2, kwh=0).prices
    assert prices.model_dump() == {"currency": "USD", "cpu_second": 0.04, "gpu_second": 2, "kwh": 0}


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ({"cpu_second": -1}, "prices.cpu_second"),
        ({"kwh": float("nan")}, "prices.kwh"),
        ({"gpu_second": float("inf")}, "prices.gpu_second"),
        ({"gpu_second": "cheap"}, "prices.gpu_second"),
        ({"currency": "€"}, "prices.currency"),
        ({"currency": "eur"}, "prices.currency"),
        ({"cpu": 1}, "prices.cpu"),
    ],
)
def test_what_is_no_price(prices: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(**prices)
