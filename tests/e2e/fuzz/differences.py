"""Not a test: where the two ingresses are known to differ, and why.

Every entry names what is in the bytes of such a case and who answers it while the other refuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Known:
    """A difference. `answers` is who answers while the other refuses, or `both`, but not alike."""

    pattern: bytes
    answers: Literal["direct", "envoy", "both"]
    reason: str


HTTP1: Sequence[Known] = (
    Known(
        rb"(?<!\r)\n|\r(?!\n)", "envoy",
        "two programs may see different ends of a line where a CR or LF stands alone",
    ),
    Known(rb"\r\n[ \t]", "envoy", "RFC 9112, 5.2: a folded line may be refused"),
    Known(
        rb"[A-Z]\t|\t ?HTTP/|HTTP/1\.[01][ \t]+\r\n|[A-Z] +/\S* *\r\n|[A-Z]  /|  HTTP/", "envoy",
        "RFC 9112, 3: single blanks part a request line, and a version ends it",
    ),
    Known(rb"HTTP/(?!1\.[01]\r\n)", "envoy", "only HTTP/1.0 and HTTP/1.1 are read as HTTP/1"),
    Known(
        rb"HTTP/1\.0\r\n(?:[^\r\n]+\r\n)*?(?i:transfer-encoding)", "envoy",
        "whoever is before an HTTP/1.0 client need not know chunks (RFC 9112, 6.1)",
    ),
    Known(
        rb"(?i)\r\nhost:[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?host:", "envoy",
        "RFC 9112, 3.2: more than one Host is refused; Envoy joins them",
    ),
    Known(rb"\\", "envoy", "Envoy takes a backslash for a slash, and no path here has one"),
    Known(
        rb"\r\n[0-9a-fA-F]+(?:[ \t]|;[^\r\n]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f])", "envoy",
        "RFC 9112, 7.1: no blank ends a chunk's size, no control character is in its extension",
    ),
    Known(
        rb"\r\n(?:0{9}[0-9a-fA-F]*|[0-9a-fA-F]+;[^\r\n]{999,})\r\n", "envoy",
        "a chunk's line of this length is nothing but work for whoever reads it",
    ),
    Known(rb"\r\n0\r\n[^\r\n]{4000,}", "envoy", "trailers are dropped, so long ones are refused"),
    Known(rb"(?i)chunked\t\r\n", "envoy", "our parser wants `chunked` to end its line"),
    Known(rb"(?i)type: *application/grpc", "envoy", "gRPC needs HTTP/2, and is told so"),
    Known(
        rb" https?://[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?(?i:host):", "envoy",
        "RFC 9112, 3.2: a Host that is none is refused, whatever authority the target has",
    ),
    Known(
        rb"(?:GET|POST) [^ \r\n]*[\x80-\xff]", "direct",
        "bytes beyond ASCII in a target are taken as they come, as many clients send them",
    ),
    Known(rb" https://", "direct", "Envoy wants the target's scheme to be the connection's"),
    Known(rb"(?i)proxy-connection: close", "direct", "no header of HTTP; Envoy closes for it"),
)  # fmt: skip

HTTP2: Sequence[Known] = (
    Known(
        rb"\|\|\|...[\x00\x01].\x00\x00\x00\x01", "envoy",
        "RFC 9113, 5.1: a frame for a stream that its client has ended ends the connection",
    ),
    Known(
        rb":authority\x00", "direct", "an empty authority is as none, which RFC 9113 allows",
    ),
    Known(rb"\A(?:(?!:authority).)*\|\|\|", "direct",
          "RFC 9113 asks for no :authority; Envoy does"),
    Known(rb"\x00\x00\x00\x09\x00", "direct",
          "an empty CONTINUATION is allowed; Envoy counts them"),
    Known(rb"(?:\x00{8}\x01){2}", "direct", "so is an empty DATA; Envoy counts them"),
    Known(rb"\x00\x40\x01\x20", "direct", "direct offers to take frames of more than 16 KiB"),
    Known(
        rb"\x01[\x20-\x2f](?:\x00\x00\x00\x01){2}", "direct",
        "RFC 9113, 5.3.2: priorities are not looked at, so none depends on itself",
    ),
    Known(rb"x-9[0-9]\x01a", "direct", "the limit of 100 headers is without pseudo-headers"),
    Known(rb"\x00\x00\x00\x04\x01\x00\x00\x00\x00", "direct", "an ACK too many does no harm"),
    Known(
        rb"\x03x-a[\x00-\x7f][^\x00]*[\x01-\x08\x0b-\x1f\x7f]", "direct",
        "RFC 9113, 8.2.1 forbids NUL, CR and LF in values, and no other control characters",
    ),
    Known(
        rb":path[\x00-\x7f]/v2.*application/grpc", "envoy",
        "what says that it is gRPC is read as gRPC, whatever its path",
    ),
    Known(rb"\x04host", "envoy", "RFC 9113, 8.3.1: host that is not as :authority is refused"),
    Known(rb"\x02te.*\x02te", "envoy", "RFC 9113, 8.2.2: `trailers` is all that te may hold"),
    Known(
        rb"(?:\x03x-a|content-length)[\x01-\x7f](?:[ \t]|[^\x00]*[ \t]\x00)", "envoy",
        "RFC 9113, 8.2.1: no blank begins or ends a value",
    ),
    Known(rb"\x00\x00\x05\x02.\x00\x00\x00\x00", "envoy", "RFC 9113, 6.3: PRIORITY has a stream"),
)  # fmt: skip


def joined(pieces: Sequence[bytes]) -> bytes:
    """Return what the patterns are searched in."""
    return b"\0|||".join(pieces)


def explained(
    known: Sequence[Known], pieces: Sequence[bytes], direct: Sequence[str], envoy: Sequence[str]
) -> bool:
    """Whether the table has a case that one of them answers further than the other."""
    answers = "direct" if len(direct) > len(envoy) else "envoy"
    if len(direct) == len(envoy):
        answers = "both"
    whole = joined(pieces)
    return any(
        each.answers == answers and re.search(each.pattern, whole, re.DOTALL) for each in known
    )
