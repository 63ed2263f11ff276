"""Headers of a request by their names."""

from __future__ import annotations

from collections.abc import Sequence

Headers = dict[bytes, bytes]


def by_name(fields: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return the headers by name; one that is given twice becomes a list (RFC 9110, section 5.3).

    So that two lengths are no length, wherever they stand, and two encodings are both known.
    """
    headers = dict(fields)
    if len(headers) < len(fields):
        headers.clear()
        for name, value in fields:
            headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value
    return headers
