"""`store_url` of `vigil.yaml`: which databases there are, and what may be shown of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = "postgresql://"
_PASSWORD: Final = re.compile(r"(?<=[?&])(password|sslpassword)=[^&]*", re.IGNORECASE)


def check_url(url: str) -> str:
    """Return a URL of a database that Vigil can use.

    Raises:
        ValueError: it is none. It is not quoted, for it may hold a password.
    """
    if url.startswith(SQLITE) and url.removeprefix(SQLITE).strip("/") and url.isprintable():
        return url
    if url.startswith(POSTGRESQL) and url.isprintable():
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError("has no readable port; write postgresql://host/name") from None
        if parts.netloc.endswith(":"):
            raise ValueError("has an empty port; write postgresql://host/name without the colon")
        if "@" in parts.path + parts.query + parts.fragment:
            # Part of a password would be taken for the path, and be shown.
            raise ValueError("has an @ after the host; write / as %2F and @ as %40 in a password")
        if parts.path.strip("/"):
            return url
    raise ValueError(
        "is no database; write sqlite:///vigil.db, or postgresql://user:password@host/name"
    )


def below(url: str, folder: Path) -> str:
    """Return a URL whose path, if it is relative, counts from `folder`."""
    path = url.removeprefix(SQLITE)
    if path == url or not path:
        return url
    return f"{SQLITE}{folder / path}"


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        hidden = f"{quote(user.partition(':')[0], safe='%')}:***@{host}"
        parts = parts._replace(netloc=hidden)
    return _PASSWORD.sub(r"\1=***", parts.geturl()) if parts.netloc else url
