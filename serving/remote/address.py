"""Addresses of other servers, and which of them may be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from serving.config import ConfigError

PORTS = {"grpc": 8001, "grpcs": 8001, "http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme (grpc, grpcs, http, https), host and port of another server."""

    scheme: str
    host: str
    port: int

    @property
    def grpc(self) -> bool:
        """Whether gRPC is spoken there."""
        return self.scheme.startswith("grpc")

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in ("grpcs", "https")

    @property
    def netloc(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as configured."""
        return f"{self.scheme}://{self.netloc}"


def parse_address(url: str) -> Address:
    """Read `scheme://host:port`.

    Raises:
        ConfigError: it is not that, or the scheme is another one.
    """
    if "@" in url:  # not quoted, for it may hold a secret
        raise ConfigError(
            "an address holds no user and no secret; write host and port, and name the file or "
            "the environment variable that holds the secret: in remote.credentials, or with "
            "--token-file or --token-env"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    # `urlsplit` drops line ends, and nobody would see what follows `?` or `#`.
    strange = not url.isprintable() or any(sign in url for sign in "?# ")
    if strange or not host or port == 0 or parts.scheme not in PORTS or parts.path not in ("", "/"):
        raise ConfigError(
            f"'{url[:200]}' is no address of a server; write grpc://host:port or http://host:port"
        )
    return Address(parts.scheme, host, port or PORTS[parts.scheme])


def check_host(address: Address, allowed: Sequence[str] | None, model: str) -> None:
    """Refuse an address whose host is not among those that `remote_hosts` allows.

    Raises:
        ConfigError: it is not.
    """
    # Names of hosts have no case, and an address has them in lower case.
    if allowed is not None and address.host not in (name.lower() for name in allowed):
        raise ConfigError(
            f"model '{model}': remote.url names the host '{address.host}', which is not among "
            f"remote_hosts in vigil.yaml"
        )
