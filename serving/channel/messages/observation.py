"""What gateways and the monitor say to each other: predictions there, labels, findings, reports.

Kinds of messages (meta struct, then reply):

- `events` (notify): `EventMeta` and tensors `in:<input>`, `out:<output>`: coalesced batches of
  one model version; of a model on another server, of one version there.
- `position` (notify): `Position`, sent after every connect, so that the monitor sees at once
  what was lost with the previous connection.
- `labels`: `LabelsMeta`, answered with `LabelCounts`.
- `findings`: `FindingsMeta`, answered with JSON as bytes.
- `report`: `ReportMeta`, answered with `ReportReply`.
- `reset_reference`: `ResetMeta`, answered with a text; sent by the admin listener.
"""

from __future__ import annotations

from typing import Final

import msgspec

EVENTS: Final = "events"
POSITION: Final = "position"
LABELS: Final = "labels"
FINDINGS: Final = "findings"
REPORT: Final = "report"
RESET_REFERENCE: Final = "reset_reference"
INPUT_PREFIX: Final = "in:"
OUTPUT_PREFIX: Final = "out:"


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How much one gateway process has sent so far; whoever receives can count what is missing.

    Attributes:
        gateway: the gateway's id.
        incarnation: differs for every process that bears that id; a restart counts from 0.
        sequence: `events` messages sent before this message.
        requests, rows: requests and rows in them.
    """

    gateway: str
    incarnation: int
    sequence: int
    requests: int
    rows: int


class EventMeta(msgspec.Struct, array_like=True, frozen=True):
    """Meta of an `events` message: what was answered, without its arrays.

    Attributes:
        position: what the gateway had sent before this message.
        model, version: what answered, as it is served.
        timestamp: seconds since the epoch when the last of the batches was answered.
        ids: the client's id of every request.
        rows: rows of every request, in the order of the tensors' first axis.
        sensitive: text or None per row, by attribute; empty when no request gave any.
        upstream: version that another server gave its answers; empty where it is `version`.
    """

    position: Position
    model: str
    version: str
    timestamp: float
    ids: list[str]
    rows: list[int]
    sensitive: dict[str, list[str | None]]
    upstream: str = ""


class Label(msgspec.Struct, array_like=True, frozen=True):
    """One label as a client pushed it; see `monitors.performance.labels.LabelEvent`."""

    request_id: str
    index: int
    y_true: float | str | bool | list[float]
    sensitive: dict[str, str] = {}
    timestamp: float | None = None


class LabelsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Labels for predictions of one model, whatever version made them."""

    model: str
    labels: list[Label]


class LabelCounts(msgspec.Struct, frozen=True):
    """What became of pushed labels; the four add up to how many there were."""

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    late: int = 0


class FindingsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for the latest findings of a model; an empty version means all of them."""

    model: str
    version: str = ""


class ReportMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for a report.

    Attributes:
        model, version: as they are served.
        kind, format: the client's words, checked by the monitor.
        only: the version that the report is about, in the client's words; empty: the one that
            has answered last for `version`.
    """

    model: str
    version: str
    kind: str
    format: str
    only: str = ""


class ResetMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for a new live reference of every watched version of a model."""

    model: str


class ReportReply(msgspec.Struct, array_like=True, frozen=True):
    """A finished report."""

    content_type: str
    body: bytes
