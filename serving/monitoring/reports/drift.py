"""Makes one drift report with Evidently, in a process of its own: it costs seconds and hundreds
of megabytes to import.

`python -m serving.monitoring.reports.drift FOLDER` reads `job.json` and `current.npz` there and
writes `report`. The statistics are pinned: left to itself Evidently chooses a test by the size of
the reference. They are effect sizes for people to look at; alarms come from the drift monitor.
"""

from __future__ import annotations

import html
import math
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from scipy.stats import wasserstein_distance

from serving.config import ModelConfig
from serving.config.encoded import decode_config
from serving.errors import VigilError
from serving.models.profile.columns import input_columns
from serving.models.profile.dataset import read_dataset
from serving.monitoring.reports.job import QUOTES, REPORT, TIMEOUT_S, Columns, plain, read_job

STATISTICS: Final = {
    "num_method": "wasserstein",
    "num_threshold": 0.1,
    "cat_method": "jensenshannon",
    "cat_threshold": 0.1,
}
"""Wasserstein distance in standard deviations of the reference; Jensen-Shannon distance."""

MAX_COLUMNS: Final = 64
MAX_ROWS: Final = 10_000
"""Per side. With these bounds the slowest report takes a fraction of the time that it may."""

_BEGIN: Final = "<script>\n    var "
_END: Final = ";\n</script>"
# JSON on one line each, so that no name can look like the end of it.
_DATA: Final = re.compile(
    re.escape(_BEGIN) + r"\w+ = \{.*\};\n    var additional_graphs_\w+ = \{.*\}" + re.escape(_END)
)

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""(reference, current) values by column name."""


class ReportError(VigilError):
    """There is nothing to compare; the message says why."""


def comparable(reference: Columns, current: Columns) -> tuple[Pairs, dict[str, str]]:
    """Sort out the columns that Evidently would raise on or has nothing to say about.

    Infinite values count as missing.

    Returns:
        The columns that can be compared, and the reason by name of those that cannot.
    """
    kept: Pairs = {}
    left_out: dict[str, str] = {}
    for name, values in reference.items():
        if name not in current:
            left_out[name] = "not among the recent rows"
            continue
        pair = _finite(values), _finite(current[name])
        empty = [
            side
            for side, part in zip(("reference", "recent rows"), pair, strict=True)
            if not _known(part).size
        ]
        distinct = {value for part in pair for value in np.unique(_known(part))[:2].tolist()}
        if empty:
            left_out[name] = f"no values in the {' and the '.join(empty)}"
        elif len(distinct) < 2:
            left_out[name] = "constant"
        else:
            kept[name] = pair
    return kept, left_out


def thinned(values: np.ndarray) -> np.ndarray:
    """Return at most `MAX_ROWS` of the values, [n], evenly taken."""
    return values[:: math.ceil(len(values) / MAX_ROWS) or 1]


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "U":
        return values
    return np.where(np.isfinite(values), values, np.nan)


def _known(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind == "U" else values[~np.isnan(values)]


def farthest(pairs: Pairs) -> tuple[Pairs, dict[str, str]]:
    """Keep the columns that have moved most, as many as fit into a report.

    Returns:
        At most `MAX_COLUMNS` columns in their order, and the reason by name of the others.
    """
    distances = {name: _distance(*pair) for name, pair in pairs.items()}
    kept = set(sorted(pairs, key=lambda name: -distances[name])[:MAX_COLUMNS])
    reason = f"not among the {MAX_COLUMNS} columns that moved most"
    return (
        {name: pair for name, pair in pairs.items() if name in kept},
        {name: reason for name in pairs if name not in kept},
    )


def _distance(reference: np.ndarray, current: np.ndarray) -> float:
    if reference.dtype.kind == "U":
        before, now = Counter(reference.tolist()), Counter(current.tolist())
        n, m = len(reference), len(current)
        return sum(abs(before[word] / n - now[word] / m) for word in before | now) / 2
    known = _known(reference)
    return float(wasserstein_distance(known, _known(current)) / max(float(known.std()), 1e-12))


def make(folder: Path) -> bytes:
    """Return the report for the job in `folder`.

    Raises:
        VigilError: the reference cannot be read, or no column can be compared.
    """
    job, recent = read_job(folder)
    config = decode_config(job.config.encode())
    return compared(job.title, "recent rows", Path(job.reference), config, recent, job.format)


def compared(
    title: str,
    what: str,
    file: Path,
    config: ModelConfig,
    recent: Columns,
    wanted: str,
    notes: Sequence[str] = (),
) -> bytes:
    """Return the report.

    Args:
        title: of the report.
        what: the rows are called.
        file: the reference.
        config: of the model.
        recent: columns of the rows.
        wanted: `html` or `json`.
        notes: on the rows, one sentence each.

    Raises:
        VigilError: the reference cannot be read, or no column can be compared.
    """
    fitted = input_columns(read_dataset(file, config).inputs, config)
    reference = {name: plain(thinned(values)) for name, values in fitted.items()}
    current = {name: thinned(values) for name, values in recent.items()}
    kept, left_out = comparable(reference, current)
    if not kept:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in list(left_out.items())[:5])
        raise ReportError(f"no column can be compared ({reasons or 'the model has none'})")
    kept, surplus = farthest(kept)
    left_out.update(surplus)
    snapshot = _compare(kept)
    rows = [len(next(iter(columns.values()))) for columns in (reference, current)]
    if wanted == "json":
        return msgspec.json.encode(
            {
                "title": title,
                "statistics": STATISTICS,
                "reference_rows": rows[0],
                "current_rows": rows[1],
                "notes": list(notes),
                "left_out": left_out,
                "evidently": msgspec.json.decode(snapshot.json()),
            }
        )
    page = harmless(snapshot.get_html_str(as_iframe=False))
    head = f"{title}: {rows[1]} {what} against {rows[0]} of the reference."
    said = preface([head, _HOW, *notes], left_out)
    return page.replace("<body>", f"<body>{said}", 1).encode()


def harmless(page: str) -> str:
    """Escape what Evidently has put into a script as JSON.

    A name of a column or a category could end the script otherwise, and begin another.

    Raises:
        ReportError: the page is not laid out as Evidently's pages are.
    """
    found = _DATA.search(page)
    if found is None:
        raise ReportError("the report's page has an unknown layout; ask for format json")
    data = found[0].removeprefix(_BEGIN).removesuffix(_END)
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return f"{page[: found.start()]}{_BEGIN}{data}{_END}{page[found.end() :]}"


def _compare(pairs: Pairs) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [name for name, (values, _) in pairs.items() if values.dtype.kind != "U"]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in pairs if name not in numeric],
    )
    reference, current = (
        Dataset.from_pandas(
            pd.DataFrame({name: pair[side] for name, pair in pairs.items()}), definition
        )
        for side in (0, 1)
    )
    return Report([DataDriftPreset(**STATISTICS)], include_tests=False).run(current, reference)


_HOW: Final = (
    "Wasserstein distance in reference standard deviations for numbers, Jensen-Shannon distance "
    "for categories, both against 0.1: effect sizes, not alarms."
)


def preface(said: Sequence[str], left_out: Mapping[str, str]) -> str:
    """Return what stands above Evidently's page.

    Args:
        said: sentences, plain text.
        left_out: reasons by the name of a column.
    """
    lines = [*said, *(f"Left out: {name} ({reason})." for name, reason in left_out.items())]
    text = "<br>".join(html.escape(line) for line in lines)
    return f'<p style="font-family: sans-serif; margin: 1em">{text}</p>'


def main(arguments: list[str]) -> int:
    """Make the report; on failure say why in one sentence on standard error."""
    # Whoever started this may die and never come to end it.
    signal.alarm(TIMEOUT_S)
    # The libraries' advice to programmers would bury the one sentence that matters.
    warnings.simplefilter("ignore")
    folder = Path(arguments[0])
    try:
        (folder / REPORT).write_bytes(make(folder))
    except VigilError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - a library's failure must reach people as text
        text = " ".join(str(error).split())[:300]
        sys.stderr.write(f"the drift report failed: {type(error).__name__}: {text}\n")
        return QUOTES
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
