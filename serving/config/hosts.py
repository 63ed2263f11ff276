"""Names of hosts: which are of loopback, and how a `Host` header names one."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Addresses to bind that nobody on another machine can reach."""

# uri-host of RFC 3986, section 3.2.2, and a port; no user before it.
_HOST: Final = re.compile(
    r"(?P<name>\[[0-9A-Za-z:.%]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?P<port>:[0-9]{0,5})?"
)
_NAME: Final = re.compile(r"[0-9a-z_]([0-9a-z_.-]{0,251}[0-9a-z_])?")


def host_name(host: str) -> str | None:
    """Return the name in a `Host` header: lower case, no port, brackets or dot at its end.

    None when the header is malformed.
    """
    found = _HOST.fullmatch(host)
    return None if found is None else found["name"].strip("[]").lower().removesuffix(".")


def is_loopback(name: str) -> bool:
    """Whether a name, as of `host_name`, can only mean this machine."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_host_name(name: str) -> bool:
    """Whether `name` can stand in a configuration: a name or an address in lower case."""
    if _NAME.fullmatch(name):
        return True
    try:
        return str(ip_address(name)) == name
    except ValueError:
        return False
