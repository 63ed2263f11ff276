"""A model on another server: where it is and how that is called."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from serving.config.section import Section

_NO_CREDENTIALS: Final = frozenset(
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "te", "expect"]
)


_ADDRESS: Final = re.compile(r"(grpcs?|https?)://[^/?#@\s]+/?")


class RemoteCredentials(Section):
    """A secret that the other server wants; it is in a file or in the environment, never here.

    The word `passthrough` in its place means `{passthrough: true}`.
    """

    env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Environment variable that holds it."
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="File that holds it, read again when it changes; relative to this one.",
    )
    passthrough: bool = Field(
        False,
        description="Pass on the header (gRPC: metadata) `authorization` of whoever asks, in place "
        "of a secret of our own.",
    )
    header: str = Field(
        "authorization",
        pattern=r"^[a-z0-9][a-z0-9_.-]*$",
        description="Header (gRPC: metadata) that carries it, in lower case.",
    )
    scheme: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Word before it; none: `Bearer` in `authorization`, else nothing.",
    )
    unencrypted: bool = Field(
        False, description="Send it without TLS beyond loopback, where everybody between can read."
    )

    @model_validator(mode="after")
    def _check(self) -> RemoteCredentials:
        if [self.env is not None, self.file is not None, self.passthrough].count(True) != 1:
            raise ValueError(
                "give either `env` or `file`, which says where the secret is, or `passthrough`"
            )
        if self.passthrough and (self.header != "authorization" or self.scheme is not None):
            raise ValueError(
                "passthrough: the header `authorization` is passed on as it comes; take `header` "
                "and `scheme` out"
            )
        if self.header in _NO_CREDENTIALS or self.header.startswith(("grpc-", "inference-")):
            raise ValueError(f"header: '{self.header}' belongs to the protocol; use another")
        if self.header.endswith("-bin"):
            raise ValueError("header: gRPC sends names that end in -bin as bytes; use another")
        return self


class RemoteTls(Section):
    """Certificates, for `grpcs://` and `https://`; paths are relative to this file."""

    ca_file: str | None = Field(
        None, description="PEM of who signed the server's certificate; none: the usual authorities."
    )
    cert_file: str | None = Field(
        None, description="PEM of a certificate of our own, if the server asks for one."
    )
    key_file: str | None = Field(None, description="PEM of its key.")

    @model_validator(mode="after")
    def _check(self) -> RemoteTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both")
        return self


class Remote(Section):
    """A model that another server of the Open Inference Protocol runs (format `remote`)."""

    url: str = Field(
        description="The server: `grpc://host:port` or `http://host:port`; with TLS `grpcs://` or "
        "`https://`.",
    )
    credentials: RemoteCredentials | None = None
    tls: RemoteTls | None = None
    model: str | None = Field(None, description="The model's name there; none: the folder's name.")
    version: str = Field("", description="The version there; empty: the one that server chooses.")
    timeout_s: float = Field(60, gt=0, description="Longest wait for one answer.")
    max_inflight: int = Field(
        8, ge=1, le=256, description="Requests that are under way to that server at once."
    )
    mirror: Literal["observe", "ask"] | None = Field(
        None,
        description="Requests that come here are copies, answered at once and without outputs. "
        "`observe`: their inputs are judged, the server is never asked, and there are no replicas; "
        "answers come as [CloudEvents](cloudevents.md). `ask`: copies go to the server, and what "
        "it answers is judged.",
    )
    row_axis: bool = Field(
        True,
        description="Whether the first axis of its tensors is the row. If not, each request is "
        "one row, and the leading -1 of the shapes in this file is on no wire.",
    )
    join: bool = Field(
        True,
        description="Send the rows of several clients in one request, and cut requests that are "
        "larger than `max_batch_size`; needs `row_axis`. Steps of sequences are never joined or "
        "cut.",
    )

    @field_validator("credentials", mode="before")
    @classmethod
    def _word(cls, given: Any) -> Any:
        return {"passthrough": True} if given == "passthrough" else given

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        # It is not quoted, for it may hold a secret.
        if "@" in url:
            raise ValueError(
                "holds a user or a secret; name the file or the environment variable that holds "
                "the secret in remote.credentials, and write only host and port here"
            )
        if not _ADDRESS.fullmatch(url):
            raise ValueError(
                "is no address of a server; write grpc://host:port or http://host:port, with TLS "
                "grpcs:// or https://"
            )
        return url
