"""Header fields in both protocols: which values are legal, and which ones vary.

A head is known again by its shape: everything in it but the values of fields that clients give
anew with each request, such as a request's id or what a mesh adds for tracing.
"""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
"""One byte of a field's value (RFC 9110, section 5.5)."""
TARGET: Final = rb"[\x21-\x22\x24-\x7e\x80-\xff]"
"""One byte of a request's target: no blank, no control character, no fragment."""
LEGAL: Final = bytes(byte for byte in range(256) if re.match(VALUE, bytes((byte,))))
"""All of them: what `bytes.translate` leaves when it deletes these is not legal."""

BLANKS: Final = b" \t"

MAX_HEADERS: Final = 100
"""Fields that a head may have."""
MOST_KEPT: Final = 48
"""Fields of a head whose shape is kept; more come from nobody who will come back."""

STEADY: Final = frozenset(
    b"host connection keep-alive proxy-connection transfer-encoding upgrade te trailer expect "
    b"content-type content-encoding accept accept-encoding accept-language accept-charset "
    b"user-agent origin sec-fetch-site access-control-request-method "
    b"access-control-request-headers grpc-encoding grpc-accept-encoding cache-control "
    b":method :path :scheme :authority".split()
)
"""Fields whose values belong to the shape: what a head means depends on them, or they seldom vary.

Of all other fields only some are looked at, and those are read anew for each request.
"""


def text(value: bytes) -> str:
    """Return a value as text, without blanks around it."""
    return value.strip(BLANKS).decode("latin-1")
