"""Writes the tables of speed in README.md and docs/speed.md: `python -m loadtest.readme [--check]`.

They are made from `loadtest/results` and stand between markers, so that no figure in a document is
written by hand. What has no result on record is "not measured yet". With --check nothing is
written; the exit status is 1 when a table is not what the results give.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loadtest.home import ROOT
from loadtest.ratios import CONTROL
from loadtest.record import RESULTS, Table

NOT_YET: Final = "not measured yet"
SOURCES: Final = ("race", "local-vs-triton")
"""Results of races, the one that is asked first first."""
ROWS: Final = (
    ("JSON, 1 connection, p50", "json-1", True),
    ("JSON, 64 connections", "json-64", False),
    ("JSON, 256 connections", "json-256", False),
    ("binary tensors, 64 connections", "binary-64", False),
    ("gRPC, 1 call at a time, p50", "grpc-1x1", True),
    ("gRPC, 4 connections of 16 streams", "grpc-4x16", False),
    ("gRPC, 8 connections of 32 streams", "grpc-8x32", False),
)
"""What a row is called, its load, and whether it tells p50 instead of requests a second."""
IMAGES: Final = ("images of 600 kB, 8 connections", "image-8", False)
FOLDER: Final = "@results"
"""Stands for the way from a document to the results."""
OURS: Final = ("vigil-local-off", "vigil-local-on")
_MAIN: Final = "main"

Results = Mapping[str, Mapping[str, Any]]
"""By load: the race it comes from, as `facts`, and its summaries, as `by_key`."""


def read(folder: Path = RESULTS) -> Results:
    """Return what is on record, from the first of `SOURCES` that has a load."""
    found: dict[str, dict[str, Any]] = {}
    for name in SOURCES:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        race = json.loads(path.read_text())
        here: dict[str, dict[str, Any]] = {}
        for summary in race["summaries"]:
            if summary["section"] == _MAIN:
                one = here.setdefault(
                    summary["load"],
                    {"name": name, "facts": race["facts"], "labels": race["labels"], "by_key": {}},
                )
                one["by_key"][summary["key"]] = summary
        found = here | found
    return found


def headline(results: Results) -> str:
    """Return the table of unique requests: Triton's better setting, mosec and Vigil."""
    rows = [
        (
            label,
            _reference(results.get(f"{load}-unique"), p50),
            _cell(results.get(f"{load}-unique"), "mosec", p50) if "JSON" in label else "-",
            *(_cell(results.get(f"{load}-unique"), key, p50) for key in OURS),
        )
        for label, load, p50 in ROWS
    ]
    columns = ("Requests, no two alike", "Triton", "mosec", "Vigil, checks off", "Vigil, checks on")
    return Table("", columns, rows).markdown() + _origin(results, [f"{r[1]}-unique" for r in ROWS])


def identical(results: Results) -> str:
    """Return the table of one request sent again and again."""
    rows = [
        (label, _reference(results.get(load), p50),
         *(_cell(results.get(load), key, p50) for key in OURS))
        for label, load, p50 in (*ROWS, IMAGES)
    ]  # fmt: skip
    columns = ("One request again and again", "Triton", "Vigil, checks off", "Vigil, checks on")
    return Table("", columns, rows).markdown() + _origin(
        results, [row[1] for row in (*ROWS, IMAGES)]
    )


def everything(results: Results) -> str:
    """Return a table for each load on record, with everybody in it and the A/A control."""
    if not results:
        return f"{NOT_YET}\n"
    parts = []
    columns = ("contender", "req/s", "p50 ms", "p99 ms", "to Triton's better", "generator cpu")
    for load, race in sorted(results.items(), key=_order):
        rows = [_line(key, summary, race["labels"]) for key, summary in race["by_key"].items()]
        parts.append(f"### {load}\n\n" + Table("", columns, rows).markdown())
    return "\n".join(parts) + _origin(results, list(results))


PLACES: Final = {
    ROOT / "README.md": {"unique requests": headline},
    ROOT / "docs" / "speed.md": {
        "unique requests": headline,
        "identical requests": identical,
        "every load": everything,
    },
}


def replaced(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between the markers of `name`.

    Raises:
        ValueError: the markers are not there once.
    """
    begin, end = f"<!-- speed: {name} -->\n", "<!-- end -->\n"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"there must be one '{begin.strip()}' with '{end.strip()}' after it")
    return pattern.sub(lambda _: f"{begin}{content}{end}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    options = parser.parse_args(arguments)
    results, stale = read(), 0
    for path, tables in PLACES.items():
        text = made = path.read_text(encoding="utf-8")
        for name, make in tables.items():
            content = make(results).replace(FOLDER, _link(path))
            made = replaced(made, name, content)
        if made == text:
            continue
        if options.check:
            stale = 1
            print(f"{path.relative_to(ROOT)} is stale; run python -m loadtest.readme")
        else:
            path.write_text(made, encoding="utf-8")
    return stale


def _link(document: Path) -> str:
    up = "../" * (len(document.relative_to(ROOT).parts) - 1)
    return f"{up}{RESULTS.relative_to(ROOT)}"


def _reference(race: Mapping[str, Any] | None, p50: bool) -> str:
    """The cell of Triton: that of its settings to which the ratios are."""
    if race is None:
        return NOT_YET
    key = next((s["reference"] for s in race["by_key"].values() if s["key"] != CONTROL), None)
    return _value(race["by_key"].get(key), p50) if key else NOT_YET


def _cell(race: Mapping[str, Any] | None, key: str, p50: bool) -> str:
    summary = race["by_key"].get(key) if race else None
    value = _value(summary, p50)
    return value if p50 or value == NOT_YET else f"{value}, {_ratio(summary)}"


def _value(summary: Mapping[str, Any] | None, p50: bool) -> str:
    if summary is None or summary["requests_per_s"] is None:
        return NOT_YET
    if p50:
        return f"{summary['p50_ms']:.2f} ms"
    rate = summary["requests_per_s"] / 1e3
    return f"{rate:.1f} k/s" if rate >= 10 else f"{rate:.2f} k/s"


def _ratio(summary: Mapping[str, Any] | None) -> str:
    ratio = summary["ratio"] if summary else None
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})" if ratio else "-"


def _line(key: str, summary: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str, ...]:
    label = "A/A control, to itself" if key == CONTROL else labels.get(key, key)
    if summary["requests_per_s"] is None:
        return (label, "invalid", "", "", "", "")
    cpu = summary.get("generator_cpu")
    return (
        label,
        f"{summary['requests_per_s']:,.0f}",
        f"{summary['p50_ms']:.2f}",
        f"{summary['p99_ms']:.2f}",
        _ratio(summary),
        "-" if cpu is None else f"{cpu:.2f}",
    )


def _order(item: tuple[str, object]) -> tuple[bool, str, int]:
    name, first, *_ = *item[0].split("-"), "0"
    return not item[0].endswith("-unique"), name, int(first.split("x")[0])


def _origin(results: Results, loads: Sequence[str]) -> str:
    """Say of what race the figures are, on what machine, and how far apart equals were."""
    lines = []
    races = {results[load]["name"]: results[load]["facts"] for load in loads if load in results}
    for name, facts in races.items():
        when = f"{facts['date']}, " if "date" in facts else ""
        lines.append(
            f"\n[{name}]({FOLDER}/{name}.md): {when}{facts['cores']} cores "
            f"({facts['processor']}), {facts['memory_gib']} GiB, {facts['rounds']} rounds of "
            f"{facts['seconds_per_round']} s, commit {facts['commit']}.\n"
        )
    return "".join(lines) + _control(results, loads)


def _control(results: Results, loads: Sequence[str]) -> str:
    """Say how far the A/A control ranged over the loads, so that nobody believes a smaller gap."""
    controls = [results[load]["by_key"].get(CONTROL) for load in loads if load in results]
    ratios = [control["ratio"] for control in controls if control and control["ratio"]]
    if not ratios:
        return ""
    low, high = min(ratio["low"] for ratio in ratios), max(ratio["high"] for ratio in ratios)
    return (
        f"\nA/A control (one server measured twice): {low:.2f}-{high:.2f} of itself. "
        "Differences within this range are noise.\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
