"""What gateways and the monitor say to each other: predictions there, labels, findings, reports.

Kinds of messages (meta struct, then reply):

- `events` (notify): `EventMeta` and tensors `in:<input>`, `out:<output>`, `score:<guard>`:
  coalesced batches of one model version; of a model on another server, of one version there.
- `position` (notify): `Position` of the oldest message that the gateway still has, sent after every
  connect. What came before it and never arrived is lost.
- `taken` (notify, from the monitor): `Taken`, at once after `position`, and then as messages are
  safe. The gateway sends again from there after a connect, and keeps nothing that came before.
- `labels`: `LabelsMeta`, answered with `LabelCounts`.
- `labels_wanted`: `LabelsWantedMeta`, answered with `LabelsWantedReply`.
- `findings`: `FindingsMeta`, answered with JSON as bytes.
- `report`: `ReportMeta`, answered with `ReportReply`.
- `reports`: `ReportsMeta`, answered with JSON as bytes.
- `predictions`: `PredictionsMeta`, answered with JSON as bytes.
- `logged_inputs`: `LoggedInputsMeta`, answered with `LoggedInputsReply` and the inputs as tensors.
- `half`: `HalfMeta`, answered with `HalfReply`; sent where several gateways take halves of pairs.
- `reset_reference`: `ResetMeta`, answered with a text; sent by the admin listener.
- `forget`: `ForgetMeta`, answered at once with `ForgetReply`; sent by the admin listener, again
  and again until the order is done.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

EVENTS: Final = "events"
POSITION: Final = "position"
TAKEN: Final = "taken"
LABELS: Final = "labels"
LABELS_WANTED: Final = "labels_wanted"
FINDINGS: Final = "findings"
REPORT: Final = "report"
REPORTS: Final = "reports"
PREDICTIONS: Final = "predictions"
LOGGED_INPUTS: Final = "logged_inputs"
HALF: Final = "half"
RESET_REFERENCE: Final = "reset_reference"
FORGET: Final = "forget"
INPUT_PREFIX: Final = "in:"
OUTPUT_PREFIX: Final = "out:"
SCORE_PREFIX: Final = "score:"


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


class Taken(msgspec.Struct, array_like=True, frozen=True):
    """What a monitor has of one gateway process: every message before `sequence`."""

    incarnation: int
    sequence: int


ANSWERED: Final = "answered"
"""Requests with outputs."""
ASKED: Final = "asked"
"""Requests that somebody else answers, nobody knows how: inputs, no outputs."""
FAILED: Final = "failed"
"""Requests that a batch answered with an error: inputs, no outputs."""
REFUSED: Final = "refused"
"""Requests that no batch has answered: no outputs, often no inputs and no rows. Where there are
inputs, all requests of the message have these, and the model may have more."""

PASSED: Final = 0
FLAGGED: Final = 1
UNJUDGED: Final = 2
"""What became of a row in a guard; numbers as in `monitors.rows`."""


class BatchColumns(msgspec.Struct, array_like=True, frozen=True):
    """The batches of an `events` message, in order; of refused requests, each is one.

    Attributes:
        ids: 16 bytes each, one behind the other.
        requests: how many requests of the message each has.
        times: seconds since the epoch when each was answered.
        compute_ns, guards_ns: nanoseconds in the model and in its guards.
    """

    ids: bytes
    requests: list[int]
    times: list[float]
    compute_ns: list[int]
    guards_ns: list[int]


class RequestColumns(msgspec.Struct, array_like=True, frozen=True):
    """What is known of the requests of an `events` message beside their ids and rows.

    What few have is kept by the request's position in the message.

    Attributes:
        first_rows: row of each one's first row in its batch: row i has the id (batch, first + i).
        queue_s: seconds in the queue.
        total_s: seconds from arrival to answer.
        outcomes: of those that did not end `ok`.
        decisions: (guard, row of the request, `guards.decisions.Action`).
        arms: of the traffic split that chose the version.
        traces: `traceparent` as the client sent it, or of the request's span.
        principals: names of who asked.
        told_elsewhere: of these a message of refused requests tells how they ended.
    """

    first_rows: list[int]
    queue_s: list[float]
    total_s: list[float]
    outcomes: dict[int, str] = {}
    decisions: dict[int, list[tuple[str, int, int]]] = {}
    arms: dict[int, str] = {}
    traces: dict[int, str] = {}
    principals: dict[int, str] = {}
    told_elsewhere: list[int] = []


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
        revision: of the version that answered.
        kind: `ANSWERED`, `ASKED`, `FAILED` or `REFUSED`.
        batches, requests: for the prediction log; None where the model is not logged.
        guards: what became of each row in guards, a byte for each: see `PASSED`; no
            guard where nobody watches their rates.
    """

    position: Position
    model: str
    version: str
    timestamp: float
    ids: list[str]
    rows: list[int]
    sensitive: dict[str, list[str | None]]
    upstream: str = ""
    revision: str = ""
    kind: str = ANSWERED
    batches: BatchColumns | None = None
    requests: RequestColumns | None = None
    guards: dict[str, bytes] = {}


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


class RecalledRow(msgspec.Struct, array_like=True, frozen=True):
    """A prediction that the log has and the monitor may have forgotten.

    Attributes:
        request_id, index: as in a label.
        version: that has answered; that of another server where one has.
        timestamp: seconds since the epoch when it was answered.
        predicted: class index, number or numbers.
        known: names of the sensitive attributes that came with the request.
    """

    request_id: str
    index: int
    version: str
    timestamp: float
    predicted: int | float | list[float]
    known: list[str] = []


class RecalledMeta(msgspec.Struct, array_like=True, frozen=True):
    """Predictions of a model that labels are about which come next; no two of one id and index."""

    model: str
    rows: list[RecalledRow]


class LabelCounts(msgspec.Struct, frozen=True):
    """What became of pushed labels; the four add up to how many there were."""

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    late: int = 0


class LabelsWantedMeta(msgspec.Struct, array_like=True, frozen=True):
    """Orders rows of a model to be labelled next.

    Attributes:
        model: whose rows.
        rows: how many at most.
        seed: of the draw, so that a restart draws the same.
    """

    model: str
    rows: int
    seed: int


class WantedRow(msgspec.Struct, frozen=True):
    """A row to label.

    Attributes:
        id, index: as in a label.
        propensity: probability that it was ordered, in (0, 1].
        at_random: whether it was drawn at random from all rows, so that its label counts.
    """

    id: str
    index: int
    propensity: float
    at_random: bool


class LabelsWantedReply(msgspec.Struct, frozen=True):
    """Rows to label: of which version, and from how many rows they were drawn."""

    version: str
    pool: int
    rows: tuple[WantedRow, ...]


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
        since, until: the earliest time of its rows and the first that is too late, in seconds
            since the epoch; None: any.
        kept: id of one that was made earlier, in the client's words; empty: a new one.
    """

    model: str
    version: str
    kind: str
    format: str
    only: str = ""
    since: float | None = None
    until: float | None = None
    kept: str = ""


class ReportsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks which reports there can be of a model, and which are kept."""

    model: str


class PredictionsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for logged rows.

    Attributes:
        model: whose they are.
        id: the client's id of a request, or the own id of a batch.
        index: row of the request or batch; None: all of them.
    """

    model: str
    id: str
    index: int | None = None


class LoggedInputsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for the inputs of logged rows of one request, as they were.

    Attributes:
        rows: which ones.
        most: rows that the answer may have.
    """

    rows: PredictionsMeta
    most: int


class LoggedInputsReply(msgspec.Struct, array_like=True, frozen=True):
    """What answered the rows: the version as it is served, and its revision."""

    version: str
    revision: str


class HalfMeta(msgspec.Struct, array_like=True, frozen=True):
    """Half of a pair that somebody else has made: a request, or its answer.

    Attributes:
        key: what both halves have in common, and no other has.
        side: `request` or `response`.
        body: as it came.
        time: seconds since the epoch when it happened; None: nobody knows.
    """

    key: tuple[str, ...]
    side: Literal["request", "response"]
    body: bytes
    time: float | None = None


class HalfReply(msgspec.Struct, array_like=True, frozen=True):
    """The other half, where it has come before.

    Attributes:
        paired: whether it has; else nothing else is said.
        body, time: as in `HalfMeta`.
    """

    paired: bool
    body: bytes = b""
    time: float | None = None


class ResetMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks for a new live reference of every watched version of a model."""

    model: str


class ForgetMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Orders that the rows of a subject be forgotten, or asks how far that is.

    Attributes:
        order: unique to the order: who repeats it asks how far it is.
        subject: whose rows: those with this text in the column `by`.
        by: the column, `client_id`, `principal` or a feature's.
        model: of this one alone; empty: of all.
    """

    order: str
    subject: str
    by: str = "client_id"
    model: str = ""


class ForgetReply(msgspec.Struct, frozen=True):
    """How far an order to forget is, or what it has done.

    Attributes:
        finished: whether it is.
        what: is being done.
        done, of: files that it is done with, and of how many.
        rows: rows taken out, by dataset.
        rewritten, deleted: paths of files within the log that were written anew, or held nothing
            else.
        entries: predictions and labels that the monitor has forgotten.
        searched: files that were searched afterwards.
        known: whether a file of the log has the column, or there is no file.
        logged: whether the log has files of these models.
    """

    finished: bool
    what: str = ""
    done: int = 0
    of: int = 0
    rows: dict[str, int] = {}
    rewritten: list[str] = []
    deleted: list[str] = []
    entries: int = 0
    searched: int = 0
    known: bool = True
    logged: bool = True


class ReportReply(msgspec.Struct, array_like=True, frozen=True):
    """A finished report."""

    content_type: str
    body: bytes
