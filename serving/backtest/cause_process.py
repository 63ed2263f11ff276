"""Looks for the cause of one breach in the prediction log, in a process of its own.

`python -m serving.backtest.cause_process` reads a `CauseJob` on standard input and writes a `Cause`
to standard output. It takes seconds of a processor and hundreds of megabytes, both bounded.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from datetime import UTC, datetime
from typing import Final

import msgspec
import pyarrow as pa

from serving.backtest.labelled_losses import LabelledLosses, labelled_losses
from serving.backtest.log_past import Labelling, LogPast
from serving.backtest.reasons import why_unalike, why_worse
from serving.backtest.selected_rows import selected_rows
from serving.channel.messages.causes import CAUSE_TIMEOUT_S, Cause
from serving.errors import VigilError
from serving.log.reader import LogReader
from serving.models.repository.folder import ModelEntry
from serving.monitoring.causes.job import MOST_BYTES, CauseJob

MOST_ROWS: Final = 50_000
"""Rows on each side of a change, the ones nearest to now of those since, and nearest to it of those
before."""
_PARITY: Final = "demographic_parity"
"""Metrics of fairness that begin so count answers; all others count which were wrong, and by how
much."""


def found(job: CauseJob) -> Cause:
    """Return what the log tells.

    Raises:
        VigilError: the log has no such rows, or not all that is needed of them.
    """
    asked, entries = job.asked, job.entries()
    config = entries[-1].config
    since = datetime.fromtimestamp(asked.since, UTC)
    try:
        if asked.attribute and asked.metric.startswith(_PARITY):
            favorable = config.fairness.favorable if config.fairness else ""
            rows = selected_rows(_past(job, entries, since), config)
            return why_unalike(rows, asked.attribute, f"the share of '{favorable}'", low=True)
        after = _labelled(job, entries, Labelling(since, later=True))
        what = "error rate" if config.label_kind == "classes" else "mean absolute error"
        if asked.attribute:
            return why_unalike(after, asked.attribute, f"the {what}", low=False)
        before = _labelled(job, entries, Labelling(since, later=False))
        return why_worse(before, after, what)
    except (OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        raise VigilError(f"the prediction log cannot be read now: {text}") from None
    except ValueError as error:
        raise VigilError(f"these rows cannot be compared: {error}") from None


def _labelled(job: CauseJob, entries: list[ModelEntry], when: Labelling) -> LabelledLosses:
    """Return rows by when their labels came, for a loss shows then and not when rows came."""
    return labelled_losses(_past(job, entries, None, when), entries[-1].config)


def _past(
    job: CauseJob,
    entries: list[ModelEntry],
    since: datetime | None,
    labelled: Labelling | None = None,
) -> LogPast:
    place = job.place
    store = place.store()
    predictions = LogReader(store, place.spool)
    sensitive = LogReader(store, place.spool, "sensitive")
    return LogPast(entries, predictions, sensitive, since, None, MOST_ROWS, labelled)


def main() -> int:
    """Answer one job; whatever goes wrong is a cause that is not known, and says why."""
    # Whoever started this may die and never come to end it.
    signal.alarm(round(CAUSE_TIMEOUT_S) + 10)
    os.nice(10)  # nobody waits for it
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("ignore")
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=CauseJob)
        cause = found(job)
    except VigilError as error:
        cause = Cause(summary=f"the cause is not known: {error.message}")
    except MemoryError:
        gib = MOST_BYTES / 2**30
        cause = Cause(summary=f"the cause is not known: looking for it takes more than {gib:g} GiB")
    except Exception as error:  # noqa: BLE001 - a library's failure must reach people as text
        # Without its message, which may quote rows.
        kind = type(error).__name__
        cause = Cause(summary=f"the cause is not known: looking for it failed ({kind})")
    sys.stdout.buffer.write(msgspec.json.encode(cause))
    return 0


if __name__ == "__main__":
    sys.exit(main())
