"""Makes one report in a process of its own: it costs seconds and hundreds of megabytes.

`python -m serving.reports.process FOLDER` reads `job.json` there and writes `report`.
"""

from __future__ import annotations

import signal
import sys
import warnings
from pathlib import Path

from serving.errors import Unsupported, VigilError
from serving.monitoring.reports.job import (
    NEVER,
    NOTHING,
    QUOTES,
    REPORT,
    TIMEOUT_S,
    read_logged_job,
)
from serving.reports.making import NothingToReport, make


def main(arguments: list[str]) -> int:
    """Make the report; on failure say why in one sentence on standard error."""
    # Whoever started this may die and never come to end it.
    signal.alarm(TIMEOUT_S)
    # The libraries' advice to programmers would bury the one sentence that matters.
    warnings.simplefilter("ignore")
    folder = Path(arguments[0])
    try:
        (folder / REPORT).write_bytes(make(*read_logged_job(folder)))
    except VigilError as error:
        sys.stderr.write(f"{error.message}\n")
        if isinstance(error, NothingToReport):
            return NOTHING
        return NEVER if isinstance(error, Unsupported) else 1
    except Exception as error:  # noqa: BLE001 - a library's failure must reach people as text
        text = " ".join(str(error).split())[:300]
        sys.stderr.write(f"the report failed: {type(error).__name__}: {text}\n")
        return QUOTES
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
