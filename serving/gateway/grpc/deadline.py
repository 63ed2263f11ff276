"""How long a gRPC client allows its call: the header `grpc-timeout`."""

from __future__ import annotations

from typing import Final

_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

NO_TIMEOUT: Final = -1.0
"""What a header says that is none of the protocol's."""
MALFORMED_TIMEOUT: Final = "grpc-timeout must be up to 8 digits and one of H M S m u n"


def timeout_seconds(value: bytes) -> float:
    """Return the seconds of a `grpc-timeout`; `NO_TIMEOUT` when it is none.

    As "Requests" of the gRPC protocol over HTTP/2 has it: at most 8 digits, then the unit.
    """
    digits = value[:-1]
    seconds = _SECONDS.get(value[-1:])
    if seconds is None or not digits.isdigit() or len(digits) > 8:
        return NO_TIMEOUT
    return int(digits) * seconds
