"""What another server asks of its callers: a secret in a header, and certificates for TLS.

Secrets lie in files or in the environment. They are in no configuration that is passed on, in no
log, and in no error.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.config import ConfigError, RemoteCredentials, RemoteTls
from serving.remote.address import Address

_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Secret:
    """A header with a secret.

    Args:
        section: says where the secret is.
        folder: what the path of a file is relative to.
        environ: the environment.

    Raises:
        ConfigError: it is not there, or cannot be the value of a header.
    """

    def __init__(
        self, section: RemoteCredentials, folder: Path, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._header = section.header
        scheme = section.scheme
        if scheme is None:
            scheme = "Bearer" if section.header == "authorization" else ""
        self._before = f"{scheme} " if scheme else ""
        self._file = None if section.file is None else folder / section.file
        self._read_at = (0, 0)
        if self._file is not None:
            self._value = self._read(self._file)
            return
        assert section.env is not None
        where = f"the environment variable {section.env} (remote.credentials.env)"
        if section.env not in environ:
            raise ConfigError(f"{where} is not set; set it for the process that serves")
        self._value = self._checked(environ[section.env], where)

    def header(self) -> tuple[str, str]:
        """Return name and value; what a file says is followed as soon as it can be read again."""
        if self._file is not None:
            # Whoever replaces it may be in the middle of that.
            with contextlib.suppress(ConfigError):
                self._value = self._read(self._file)
        return self._header, self._value

    def _read(self, file: Path) -> str:
        where = f"the file {file} (remote.credentials.file)"
        try:
            about = file.stat()
            read_at = (about.st_mtime_ns, about.st_ino)
            if read_at == self._read_at:
                return self._value
            value = self._checked(file.read_text(encoding="utf-8"), where)
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{where} is not text") from None
        self._read_at = read_at
        return value

    def _checked(self, text: str, where: str) -> str:
        text = text.strip()
        if not _PLAIN.fullmatch(text):
            raise ConfigError(
                f"{where} must hold one secret: printable ASCII without blanks, on one line"
            )
        return self._before + text


class Access:
    """How one server is called; the default: without a secret, with the usual authorities.

    Args:
        secret: a header to send with every call.
        authorities: PEM of who may have signed the server's certificate; none: the usual ones.
        certificate, key: files with a certificate of our own; none: without one.
    """

    def __init__(
        self,
        secret: Secret | None = None,
        authorities: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._secret = secret
        self.authorities = _read(authorities, "ca_file")
        self.certificate = _read(certificate, "cert_file")
        self.key = _read(key, "key_file")
        self._files = (authorities, certificate, key)

    def headers(self) -> dict[str, str]:
        """Return what every call carries."""
        return {} if self._secret is None else dict([self._secret.header()])

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return how an HTTP client is to verify the server; True: as usual.

        Raises:
            ConfigError: a file holds no certificate, or no key that fits it.
        """
        authorities, certificate, key = self._files
        if authorities is None and certificate is None:
            return True
        try:
            context = ssl.create_default_context(cafile=authorities)
            if certificate is not None:
                context.load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"remote.tls: the files hold no certificate, or no key that fits it: "
                f"{getattr(error, 'reason', None) or 'not PEM'}"
            ) from None
        return context


def access_of(
    address: Address,
    credentials: RemoteCredentials | None,
    tls: RemoteTls | None,
    folder: Path,
) -> Access:
    """Return how `address` is called; paths are relative to `folder`.

    Raises:
        ConfigError: a secret or a file is not there, or the secret would travel in the clear.
    """
    if tls is not None and not address.tls:
        raise ConfigError(
            f"remote.tls is given, and {address.url} is plain; write grpcs:// or https://"
        )
    secret = None
    if credentials is not None:
        plain = not address.tls and address.host not in _LOOPBACK
        if plain and not credentials.unencrypted:
            what = "credentials of clients" if credentials.passthrough else "the secret"
            raise ConfigError(
                f"{what} of remote.credentials would travel in the clear to {address.url}; "
                f"use grpcs:// or https://, or allow it with remote.credentials.unencrypted: true"
            )
        if not credentials.passthrough:
            secret = Secret(credentials, folder)
    if tls is None:
        return Access(secret)
    files = [None if name is None else folder / name for name in _files(tls)]
    access = Access(secret, *files)
    access.ssl_context()  # here, where it can be told: gRPC would only never connect
    return access


def _files(tls: RemoteTls) -> tuple[str | None, str | None, str | None]:
    return tls.ca_file, tls.cert_file, tls.key_file


def _read(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; remote.tls.{key} names it") from None
